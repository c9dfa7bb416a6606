import pytest

from server.doors.locales import is_language_tag

# From RFC 5646, appendix A, and section 2.2.8 for the grandfathered ones.
GOOD = """de fr ja i-enochian zh-Hant zh-Hans sr-Cyrl sr-Latn zh-cmn-Hans-CN cmn-Hans-CN zh-yue-HK
yue-HK zh-Hans-CN sr-Latn-RS sl-rozaj sl-rozaj-biske sl-nedis de-CH-1901 sl-IT-nedis
hy-Latn-IT-arevela de-DE en-US es-419 de-CH-x-phonebk az-Arab-x-AZE-derbend x-whatever
qaa-Qaaa-QM-x-southern de-Qaaa sr-Latn-QM sr-Qaaa-RS en-US-u-islamcal zh-CN-a-myext-x-private
en-a-myext-b-another pt-BR EN-gb en-GB-oed sgn-BE-FR zh-min-nan""".split()

BAD = """e pt_BR en- -en en--GB de-419-DE a-DE ar-a-aaa-b-bbb-a-ccc de-1901-1901 de-CH-1901-1901
en-x x- 123 en-US! english en-ı ｅｎ no-such-locale-tag i-nosuch *""".split()


@pytest.mark.parametrize("tag", GOOD)
def test_a_well_formed_tag_is_accepted(tag):
    assert is_language_tag(tag)


@pytest.mark.parametrize("tag", [*BAD, "", " ", "en\n", "en GB", "en-" + "abcde-" * 5000 + "x"])
def test_anything_else_is_refused(tag):
    assert not is_language_tag(tag)
