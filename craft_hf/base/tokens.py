"""Tokens and keys of known formats, which must not be written down."""

from __future__ import annotations

import re

_A, _H = "[A-Za-z0-9]", "[0-9a-f]"
_S = "[A-Za-z0-9_-]"

_FORMATS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("a Hugging Face token", ("hf_", "api_org_"), rf"\b(?:hf|api_org)_{_A}{{30,}}\b"),
    (  # and of those who follow them
        "an OpenAI or Anthropic key", ("sk-",),
        rf"\bsk-(?:or-v1-)?{_H}{{32,}}|\bsk-(?={_S}*\d)(?={_S}*[A-Z]){_S}{{32,}}",
    ),
    ("an AWS key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"\b(?:AKIA|ASIA|ABIA|ACCA(?=[A-Z]*\d))[A-Z0-9]{16}\b"),
    ("a GitHub token", ("gh", "github_pat_"), rf"\bgh[pousr]_{_A}{{36}}\b|\bgithub_pat_\w{{40,}}"),
    ("a GitLab token", ("gl", "GR1348941"), rf"\bgl(?:pat|dt|ft|soat|rt|cbt|ptt|imt|agent|oas)-(?={_S}*\d){_S}{{20,}}"),
    ("a Google key", ("AIza", "GOCSPX-", "ya29."), rf"\bAIza{_S}{{35}}\b|\bGOCSPX-{_S}{{28}}|\bya29\.{_S}{{60,}}"),
    ("a Slack token", ("xox",), r"\bxox[abeoprs]-(?=[A-Za-z-]*\d)[A-Za-z0-9-]{10,}"),
    ("a Slack app's token", ("xapp-",), r"\bxapp-\d-[A-Za-z0-9-]{20,}"),
    ("a Slack webhook", ("hooks.slack.com",), r"hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}"),
    ("a Discord token", (".",), rf"\b[MNO]{_S}{{23,25}}\.{_S}{{6}}\.{_S}{{27,38}}\b"),
    ("a Discord webhook", ("/api/webhooks/",), rf"discord(?:app)?\.com/api/webhooks/\d{{17,20}}/{_S}{{60,}}"),
    ("a Telegram token", (":AA",), rf"\b\d{{8,10}}:AA{_S}{{33}}\b"),
    ("a Stripe key", ("k_live_", "k_test_"), rf"\b[rs]k_(?:live|test)_{_A}{{24,}}"),
    ("a webhook's secret", ("whsec_",), r"\bwhsec_[A-Za-z0-9+/]{32,}"),
    ("a PyPI token", ("pypi-AgE",), rf"\bpypi-AgE{_S}{{50,}}"),
    ("an npm token", ("npm_",), rf"\bnpm_{_A}{{36}}\b"),
    ("a RubyGems key", ("rubygems_",), rf"\brubygems_{_H}{{48}}\b"),
    ("a Docker token", ("dckr_",), rf"\bdckr_[po]at_{_S}{{27,}}"),
    ("a SendGrid key", ("SG.",), rf"\bSG\.{_S}{{22}}\.{_S}{{43}}\b"),
    ("a Mailchimp key", ("-us",), rf"\b{_H}{{32}}-us\d{{1,2}}\b"),
    ("a Mailgun key", ("key-",), rf"\bkey-{_H}{{32}}\b"),
    ("a Twilio key", ("AC", "SK"), rf"\b(?:AC|SK){_H}{{32}}\b"),
    ("a Square token", ("sq0", "EAAA"), rf"\bsq0(?:atp|csp)-{_S}{{22,43}}\b|\bEAAA{_S}{{60}}\b"),
    ("an Azure key", ("AccountKey=", "SharedAccessKey="), r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{40,}={0,2}"),
    ("a DigitalOcean token", ("_v1_",), rf"\bdo[opr]_v1_{_H}{{64}}\b"),
    ("a Databricks token", ("dapi",), rf"\bdapi{_H}{{32}}(?:-\d)?\b"),
    ("a Shopify token", ("shp",), r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("a Grafana token", ("glc_", "glsa_"), rf"\bglc_[A-Za-z0-9+/]{{32,}}|\bglsa_{_A}{{32}}_{_H}{{8}}\b"),
    ("a Linear key", ("lin_api_",), rf"\blin_api_{_A}{{40}}\b"),
    ("a Notion token", ("ntn_", "secret_"), rf"\bntn_{_A}{{40,}}\b|\bsecret_{_A}{{43}}\b"),
    ("a Postman key", ("PMAK-",), rf"\bPMAK-{_H}{{24}}-{_H}{{34}}\b"),
    ("a Groq key", ("gsk_",), rf"\bgsk_{_A}{{50,}}\b"),
    ("an xAI key", ("xai-",), rf"\bxai-{_A}{{70,}}\b"),
    ("a Replicate token", ("r8_",), rf"\br8_{_A}{{37}}\b"),
    ("a Perplexity key", ("pplx-",), rf"\bpplx-{_A}{{48,}}\b"),
    ("an NVIDIA key", ("nvapi-",), rf"\bnvapi-{_S}{{60,}}"),
    ("a Pinecone key", ("pcsk_",), r"\bpcsk_\w{60,}\b"),
    ("a Together key", ("tgp_v1_",), rf"\btgp_v1_{_S}{{40,}}"),
    ("a Tavily key", ("tvly-",), rf"\btvly-{_S}{{32,}}"),
    ("a LangSmith key", ("lsv2_",), rf"\blsv2_(?:pt|sk)_{_H}{{32}}_{_H}{{10}}\b"),
    ("a Supabase token", ("sbp_",), rf"\bsbp_{_H}{{40}}\b"),
    ("a PlanetScale token", ("pscale_",), rf"\bpscale_(?:tkn|oauth|pw)_{_S}{{32,}}"),
    ("a Prefect key", ("pnu_",), rf"\bpnu_{_A}{{36}}\b"),
    ("an Atlassian token", ("ATATT3",), r"\bATATT3[A-Za-z0-9_=-]{60,}"),
    ("a Figma token", ("figd_",), rf"\bfigd_{_S}{{40,}}"),
    ("an Airtable token", ("pat",), rf"\bpat{_A}{{14}}\.{_H}{{64}}\b"),
    ("a Vault token", ("hvs.", "hvb."), rf"\bhv[sb]\.{_S}{{90,}}"),
    ("a Terraform token", (".atlasv1.",), rf"\b{_A}{{14}}\.atlasv1\.{_S}{{60,}}"),
    ("a Doppler token", ("dp.",), rf"\bdp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]+\.)?{_A}{{40,}}\b"),
    ("a Fly.io token", ("fm2_", "fo1_"), r"\bfm[12]_[A-Za-z0-9+/]{100,}|\bfo1_[\w-]{43}\b"),
    ("a New Relic key", ("NRAK-",), r"\bNRAK-[A-Z0-9]{27}\b"),
    ("a Sentry token", ("sntry",), rf"\bsntryu_{_H}{{64}}\b|\bsntrys_eyJ[A-Za-z0-9+/=_]{{60,}}"),
    ("an Artifactory key", ("AKCp",), rf"\bAKCp[58]{_A}{{60,}}\b"),
    ("a key of age", ("AGE-SECRET-KEY-1",), r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
    ("a PuTTY key", ("PuTTY-User-Key-File-",), r"PuTTY-User-Key-File-\d: "),
    ("a Heroku key", ("HRKU-",), rf"\bHRKU-{_S}{{36,}}"),
    ("a Mapbox token", ("sk.eyJ",), rf"\bsk\.eyJ{_S}{{40,}}\.{_S}{{20,}}"),
    ("a key of Weights & Biases", ("wandb_v1_",), r"\bwandb_v1_\w{40,}"),
    (
        "an authorization", ("uthorization",),
        r"(?i:authorization)[\"']?\s*[:=]\s*[\"']?(?:Bearer|Basic|token)\s+[\w.~+/-]{24,}",
    ),
    ("a key in an address", ("@",), rf"://{_H}{{40}}@|://:[^\s/:@'\"<>{{}}\[\]]{{8,}}@[\w.-]+"),
    ("a JSON Web Token", ("eyJ",), rf"(?<![A-Za-z0-9-])eyJ{_S}{{10,1000}}\.eyJ{_S}{{10,}}\.{_S}{{20,}}"),
    ("a private key", ("PRIVATE KEY",), r"-----? ?BEGIN (?:[A-Z0-9]{1,10} ){0,4}PRIVATE KEY(?: BLOCK)? ?-----?"),
)  # fmt: skip
"""What is found, what a text must have in it to be looked at, and the pattern.

The formats are those that the issuers document, or that their tools make; the least lengths exclude ordinary words.
"""

_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"


def _compiled(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern in which \b is an end of ASCII letters and digits: other scripts may go on beside it."""
    return re.compile(re.sub(r"\\b(?=$|\|)", lambda _: _END, pattern).replace(r"\b", _START))


_PATTERNS = [(kind, hints, _compiled(pattern)) for kind, hints, pattern in _FORMATS]

_PASSWORD = re.compile(r"://[^\s/:@'\"<>{}\[\]]{1,64}:([^\s/:@'\"<>{}\[\]]{3,64})@([\w.-]{1,253})")
_NO_PASSWORD = re.compile(
    r"(?i)[x*.]+|\W*|(?:your[_-]?|my[_-]?|db[_-]?|the[_-]?)?(?:pass(?:word|wd)?|pwd|pw|secret|token)\d{0,3}"
)
_NO_HOST = re.compile(r"(?i)(?:localhost|127\.0\.0\.1|(?:[\w.-]+\.)?example(?:\.\w+)?|host(?:name)?|server|proxy|db)")

_ASSIGNED = re.compile(r"(?::=|=>|[:=])\s{0,3}[\"']?(?=[\w+/~.-]*\d)(?=[\w+/~.-]*[A-Za-z])([\w+/~.-]{32,}={0,2})")
_NAME = re.compile(
    r"(?i)(?:api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|secret|token|passw(?:or)?d|\bpwd|_auth|_pat)"
    r"(?!\w*(?:sha|md5|hash|digest|id\b))[\w-]{0,20}[\"']?\s*$"
)
_NO_KEY = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|/(?:[a-z0-9._-]{1,40}/)+[a-z0-9._-]{0,40}|[A-Za-z_.]+\d{0,4}"
)
"""A UUID, a path, a name with a number: what stands behind a name in code."""

_ESCAPED = re.compile(r"\\(?:[bfnrt\"/\\]|u00[0-9a-f]{2})")


def token_kind(text: str) -> str:
    """Return what kind of token a text contains, such as "a Hugging Face token"; "" for none.

    The text may be JSON, in which line breaks are escaped.
    """
    if "\\" in text:
        text = _ESCAPED.sub(" ", text)
    for kind, hints, pattern in _PATTERNS:
        if any(hint in text for hint in hints) and pattern.search(text):
            return kind
    for found in _PASSWORD.finditer(text) if "://" in text else ():
        if not _NO_PASSWORD.fullmatch(found[1]) and not _NO_HOST.fullmatch(found[2]):
            return "a password in an address"
    for found in _ASSIGNED.finditer(text):
        if _NAME.search(text, max(0, found.start() - 60), found.start()) and not _NO_KEY.fullmatch(found[1]):
            return "a key behind its name"
    return ""
