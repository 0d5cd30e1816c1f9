"""Tokens of known formats, drawn by their grammar; none of them was ever issued."""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path

import pytest

from craft_hf.base.tokens import token_kind
from craft_hf.corpus import sample_corpus
from tests import ROOT

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
ANY = LETTERS + "-_"


def drawn(characters: str, count: int, seed: str) -> str:
    """Characters drawn at random, the first and last of which are letters or digits."""
    rng = random.Random(seed)
    middle = "".join(rng.choice(characters) for _ in range(count - 2))
    return rng.choice("abcdef") + middle + rng.choice("123456789")


def some(characters: str, count: int) -> str:
    """The same, from a seed of its own."""
    return drawn(characters, count, f"{characters}{count}")


TOKENS = {
    "Hugging Face": "hf_" + some(LETTERS, 34),
    "Hugging Face of an organisation": "api_org_" + some(LETTERS, 34),
    "OpenAI": "sk-" + some(LETTERS, 48),
    "OpenAI project": "sk-proj-" + some(ANY, 74) + "T3BlbkFJ" + some(ANY, 74),
    "Anthropic": "sk-ant-api03-" + some(ANY, 93) + "AA",
    "OpenRouter": "sk-or-v1-" + some(HEX, 64),
    "AWS": "AKIA" + some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16).upper(),
    "AWS, for a time": "ASIA" + some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16).upper(),
    "AWS secret": 'aws_secret_access_key = "' + some(LETTERS + "+/", 40) + '"',
    "GitHub": "ghp_" + some(LETTERS, 36),
    "GitHub, fine-grained": "github_pat_" + some(LETTERS, 22) + "_" + some(LETTERS, 59),
    "GitLab": "glpat-" + some(ANY, 20),
    "Google": "AIza" + some(ANY, 35),
    "Google OAuth": "GOCSPX-" + some(ANY, 28),
    "Slack": "xoxb-123456789012-1234567890123-" + some(LETTERS, 24),
    "Slack app": "xapp-1-A0123456789-1234567890123-" + some(HEX, 64),
    "Slack webhook": "https://hooks.slack.com/services/T01234567/B01234567/" + some(LETTERS, 24),
    "Discord": "M" + some(ANY, 25) + "." + some(ANY, 6) + "." + some(ANY, 38),
    "Discord webhook": "https://discord.com/api/webhooks/123456789012345678/" + some(ANY, 68),
    "Telegram": "1234567890:AA" + some(ANY, 33),
    "Stripe": "sk_live_" + some(LETTERS, 24),
    "Stripe webhook": "whsec_" + some(LETTERS, 32),
    "PyPI": "pypi-AgEIcHlwaS5vcmc" + some(ANY, 120),
    "npm": "npm_" + some(LETTERS, 36),
    "RubyGems": "rubygems_" + some(HEX, 48),
    "Docker": "dckr_pat_" + some(ANY, 27),
    "SendGrid": "SG." + some(ANY, 22) + "." + some(ANY, 43),
    "Mailchimp": some(HEX, 32) + "-us21",
    "Mailgun": "key-" + some(HEX, 32),
    "Twilio": "SK" + some(HEX, 32),
    "Square": "sq0atp-" + some(ANY, 22),
    "Azure": "AccountKey=" + some(LETTERS + "+/", 86) + "==",
    "DigitalOcean": "dop_v1_" + some(HEX, 64),
    "Databricks": "dapi" + some(HEX, 32),
    "Shopify": "shpat_" + some(HEX, 32),
    "Grafana": "glsa_" + some(LETTERS, 32) + "_" + some(HEX, 8),
    "Linear": "lin_api_" + some(LETTERS, 40),
    "Notion": "ntn_" + some(LETTERS, 46),
    "Postman": "PMAK-" + some(HEX, 24) + "-" + some(HEX, 34),
    "Groq": "gsk_" + some(LETTERS, 52),
    "xAI": "xai-" + some(LETTERS, 80),
    "Replicate": "r8_" + some(LETTERS, 37),
    "Perplexity": "pplx-" + some(LETTERS, 48),
    "NVIDIA": "nvapi-" + some(ANY, 64),
    "Airtable": "pat" + some(LETTERS, 14) + "." + some(HEX, 64),
    "Vault": "hvs." + some(ANY, 95),
    "Terraform": some(LETTERS, 14) + ".atlasv1." + some(ANY, 67),
    "Doppler": "dp.pt." + some(LETTERS, 43),
    "New Relic": "NRAK-" + some(string.ascii_uppercase + string.digits, 27).upper(),
    "Sentry": "sntryu_" + some(HEX, 64),
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + some(ANY, 43),
    "RSA key": "-----BEGIN RSA PRIVATE KEY-----",
    "PGP key": "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    "address": "postgresql://app:hunter2.hunter2@db.company.io/app",
    "address with a token": "https://" + some(HEX, 40) + "@github.com/x/y",
    "address without a user": "redis://:hunter2hunter2@cache.company.io:6379",
    "Heroku": "HRKU-" + some(ANY, 60),
    "Mapbox": "sk.eyJ" + some(ANY, 80) + "." + some(ANY, 22),
    "DeepSeek": "sk-" + some(HEX, 32),
    "authorization": "Authorization: Bearer " + some(LETTERS, 40),
    "Azure client secret": 'client_secret="' + some(LETTERS, 3) + "8Q~" + some(LETTERS, 34) + '"',
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519",
    "behind its name": "WANDB_API_KEY=" + some(HEX, 40),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_tokens_of_known_formats_are_found(token: str) -> None:
    """Between blanks, in quotes and at the end of a sentence; not when a part is missing."""
    beside = [json.dumps({"a": f"use\n{token}\tnow"}), f"令牌是{token}。", f"TOKEN_{token}", f"_{token}_"]
    for text in (token, f"export X={token}", f'"{token}"', f"I use {token}.", f"a\n{token}\nb", *beside):
        assert token_kind(text), text
    if "PRIVATE KEY" not in token:
        assert not token_kind(token[:12])


@pytest.mark.parametrize(
    "text",
    [
        "The sequence ACCACAGTCCATGCCATCACTGCCACC is a primer.",
        "See https://example.org/a:b@c and mailto:jo@example.org, or write to jo@example.org: he knows.",
        "The secret of success: hard work. The key to biology is the cell; a token of my love.",
        "key-value pairs, sk-ll, hf_hub_download, pat-a-cake, dapirelay, xoxo-xoxo",
        "token = AutoTokenizer.from_pretrained(model_name_or_path_of_the_tokenizer)",
        "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "the api_key parameter is required: see the documentation of the service for how to get one",
        "http://user@example.org/path:with@signs",
        "mysql://root:password@localhost:3306/test and http://user:pass@proxy:8080",
        "https://user:***@h.org, https://user:xxxxx@h.org, https://jo:s3cr3t-pw@www.example.com",
        "https://x.org/sk-novy-zakon-o-verejnom-obstaravani-2020, sk-learn-contrib-categorical-encoding-library",
        "xoxb-and-some-text, xoxp-lorations-of-space, glrt-this-is-a-long-hyphenated-slug-x",
        "token: 550e8400-e29b-41d4-a716-446655440000",
        "secret: /usr/local/lib/python3.11/site-packages/secrets.py",
        "eyJ-" * 50_000,
        "1" * 100_000,
        "a:" * 50_000,
        "://a" * 50_000,
        "=" * 100_000,
    ],
)
def test_ordinary_texts_have_none(text: str) -> None:
    """Sequences, hashes, code and addresses are no secrets."""
    assert token_kind(text) == ""


CORPORA = sorted((ROOT.parent / "shared" / "data").glob("corpus_*.jsonl.gz"))


@pytest.mark.parametrize(
    "corpus", [sample_corpus(), *(pytest.param(path, marks=pytest.mark.long) for path in CORPORA)], ids=str
)
def test_documents_have_none(corpus: Path) -> None:
    """The sample corpus and, where they are there, the 51,058 documents of the development corpora."""
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        texts = (json.loads(line)["text"] for line in lines)
        assert not [(kind, text) for text in texts if (kind := token_kind(text))]
