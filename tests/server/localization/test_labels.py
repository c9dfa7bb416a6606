"""What is written on a picture that a machine made, by language."""

import pytest

from server.localization.labels import MAX_LETTERS, Labels, LabelsInvalid


@pytest.mark.parametrize(
    ("locale", "text", "language"),
    [
        ("en-GB", "AI-generated", "en"),
        ("de-AT", "KI-generiert", "de"),
        ("es-MX", "Generado con IA", "es"),
        ("zh-TW", "AI 生成", "zh-Hant"),
        ("ar", "مُنشأ بالذكاء الاصطناعي", "ar"),
        ("xx", "AI-generated", "en"),
    ],
)
def test_the_label_is_in_the_language_of_who_looks(locale, text, language):
    found = Labels.read().find(locale)
    assert (found.text, found.language) == (text, language)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ("de: KI", "en: is missing"),
        ("en: ''", f"en: want a text of at most {MAX_LETTERS}"),
        (f"en: {'x' * (MAX_LETTERS + 1)}", "en: want a text"),
        ("en: [a]", "en: want a text"),
        ("en: AI\nno: KI", "is no BCP 47 tag; quote tags such as 'no'"),
        ('en: "a\\u0007b"', "can't be set"),
        ("[en]", "is no mapping"),
        ("en: [", "can't be read"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused_by_language(tmp_path, told, fault):
    path = tmp_path / "labels.yaml"
    path.write_text(told)
    with pytest.raises(LabelsInvalid, match=f"{path}: .*{fault}|{path}: {fault}"):
        Labels.read(path)
