"""A title in each script, and the file that has its letters."""

from server.imaging.text.fonts import SHIPPED, Fonts

ONLY_SHIPPED = Fonts(folders=())
BOLD = "Noto Sans Bold"

TITLES = {
    "en": ("Hand-stitched leather bag", "NotoSans-Bold.ttf"),
    "vi": ("Túi đeo vai da thủ công", "NotoSans-Bold.ttf"),
    "ru": ("Кожаная сумка ручной работы", "NotoSans-Bold.ttf"),
    "sr": ("Кожна торба гпдбт", "NotoSans-Bold.ttf"),
    "el": ("Δερμάτινη τσάντα ώμου", "NotoSans-Bold.ttf"),
    "ar": ("حقيبة كتف جلدية مصنوعة يدويًا", "NotoSansArabic-Bold.ttf"),
    "fa": ("کیف چرمی دست‌دوز", "NotoSansArabic-Bold.ttf"),
    "he": ("תיק עור בעבודת יד", "NotoSansHebrew-Bold.ttf"),
    "hi": ("हस्तनिर्मित चमड़े का शोल्डर बैग", "NotoSansDevanagari-Bold.ttf"),
    "bn": ("হাতে তৈরি চামড়ার কাঁধের ব্যাগ", "NotoSansBengali-Bold.ttf"),
    "th": ("กระเป๋าสะพายข้างหนังแท้", "NotoSansThai-Bold.ttf"),
    "zh": ("女士真皮手工单肩包直角骨", "NotoSansCJK-Bold.otf"),
    "zh-Hant": ("女士真皮手工單肩包直角骨", "NotoSansCJK-Bold.otf"),
    "ja": ("女性用本革肩掛鞄直角骨", "NotoSansCJK-Bold.otf"),
    "ko": ("여성용천연가죽숄더백", "NotoSansCJK-Bold.otf"),
}
FROM_RIGHT = {"ar", "fa", "he"}


def find_file(language):
    return SHIPPED / TITLES[language][1]
