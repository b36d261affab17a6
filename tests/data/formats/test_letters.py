"""Letters are letters in every language, for what is learnt and for what is scored."""

from __future__ import annotations

import unicodedata

import pytest
from unrolled.data import CaptionData, Subwords, TextData
from unrolled.data.alphabet import alphabet
from unrolled.data.formats.letters import composed, composed_pieces, plain, unmarked, unspaced_share
from unrolled.tasks.metrics import CaptionScores, SacreBLEU
from unrolled.tasks.metrics.ptb import ptb_words

# One caption of nine words in each, punctuation as the language has it.
CAPTIONS = {
    "Hindi": "एक भूरा कुत्ता हरे पार्क में तेज़ दौड़ता है।",
    "Bengali": "একটি বাদামী কুকুর সবুজ মাঠে খুব দ্রুত দৌড়ে যাচ্ছে।",
    "Tamil": "ஒரு பழுப்பு நாய் பச்சை பூங்காவில் மிக வேகமாக ஓடிக் கொண்டிருக்கிறது.",
    "Telugu": "ఒక గోధుమ రంగు కుక్క పచ్చని పార్కులో చాలా వేగంగా పరుగెత్తుతోంది.",
    "vowelled Arabic": " ".join(
        [
            "كَلْبٌ بُنِّيٌّ صَغِيرٌ يَجْرِي",
            "بِسُرْعَةٍ كَبِيرَةٍ فِي الْحَدِيقَةِ الْخَضْرَاءِ؟",
        ]
    ),
    "pointed Hebrew": "כֶּלֶב חוּם קָטָן רָץ מַהֵר מְאֹד בַּגַּן הַיָּרֹק הַגָּדוֹל.",
    "Persian": "یک سگ قهوه‌ای کوچک می‌خواهد در پارک سبز بدود.",
    "decomposed Vietnamese": unicodedata.normalize(
        "NFD", "Một chú chó nâu đang chạy nhanh trong vườn."
    ),
    "Greek": "Ένας καφέ σκύλος τρέχει πολύ γρήγορα στο πράσινο πάρκο;",
    "Russian": "Маленькая коричневая собака очень быстро бежит по зелёному парку.",
    "Amharic": "አንድ ቡናማ ውሻ በአረንጓዴው ሜዳ ላይ በጣም በፍጥነት ይሮጣል።",
    "Korean": "작은 갈색 개 한 마리가 초록 공원에서 빨리 달린다.",
}
UNSPACED = {
    "Chinese": "一只棕色的小狗在绿色的草地上快速奔跑。",
    "Japanese": "茶色いイヌがサッカーボールで遊んでいます。",
    "Thai": "สุนัขสีน้ำตาลวิ่งเร็วมากในสวนสีเขียว",
    "Khmer": "ឆ្កែពណ៌ត្នោតកំពុងរត់យ៉ាងលឿននៅក្នុងសួន។",
    "Burmese": "ခွေးညိုလေးတစ်ကောင်သည် ပန်းခြံထဲတွင် ပြေးနေသည်။",
}


def letters(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFC", text) if one.isalpha() or one == " ")


@pytest.mark.parametrize("language", CAPTIONS)
def test_a_word_keeps_what_belongs_to_it(language):
    text = CAPTIONS[language]
    words = unicodedata.normalize("NFC", text).lower().rstrip("।.؟;።").split()
    assert ptb_words(text) == words
    learnt = CaptionData("x").learnt(text)
    assert learnt.lower().split() == words
    vocabulary = Subwords.train([learnt], kind="word", lowercase=True)
    assert vocabulary.decode(vocabulary.encode_batch([learnt])[0]).split() == words
    assert vocabulary.size == 4 + len(set(words))


@pytest.mark.parametrize("language", [*CAPTIONS, *UNSPACED])
def test_a_perfect_caption_scores_as_one(language):
    """What was learnt of a caption, and written again, is the caption."""
    text = (CAPTIONS | UNSPACED)[language]
    metric = CaptionScores()
    metric.update([CaptionData("x").learnt(text)], [[text]])
    scores = metric.compute()
    for name in ("bleu1", "bleu4", "rouge_l"):
        assert float(scores[name]) == pytest.approx(1, abs=1e-6), name


@pytest.mark.parametrize("language", UNSPACED)
def test_scripts_without_spaces_are_told_and_counted_by_letters(language):
    text = UNSPACED[language]
    assert unspaced_share([text]) > 0.9
    words = ptb_words(text)
    assert len(words) > 10
    # no mark stands alone, and none is lost
    assert not any(unicodedata.category(word[0])[0] == "M" for word in words)
    assert letters("".join(words)) == letters(text.replace(" ", ""))
    metric = CaptionScores()
    metric.update([text[: len(text) // 2]], [[text]])  # a part of it is neither all nor nothing
    assert 0.1 < float(metric.compute()["rouge_l"]) < 0.9


@pytest.mark.parametrize("language", CAPTIONS)
def test_scripts_with_spaces_are_told(language):
    assert unspaced_share([CAPTIONS[language]]) == 0


def test_what_no_reader_sees():
    assert plain("\ufeffa\u200bb\u00adc\u2060d") == "a bcd"
    assert plain("10\u00a0% \u202f!") == "10\u00a0% \u202f!"  # spaces, and they stay
    assert ptb_words("10\u00a0% \u202fof\u200bit\ufeff") == ["10", "%", "of", "it"]
    assert plain("क्‍या می‌خواهم 👨‍👩‍👧") == "क्‍या می‌خواهم 👨‍👩‍👧"  # joiners are part of words
    assert unmarked("\ufeffa\ufeff") == "a\ufeff"
    assert ptb_words("❤️ 👨‍👩‍👧 x") == ["❤️", "👨‍👩‍👧", "x"]


def test_how_a_letter_was_typed_does_not_matter():
    typed = unicodedata.normalize("NFD", "Café Việt 각")
    assert not composed(typed)
    assert composed(plain(typed))
    assert plain(typed, nfc=False) == typed
    assert ptb_words(typed) == ptb_words("Café Việt 각")
    assert CaptionData("x", normalize=False).learnt(typed) == typed
    metric = SacreBLEU()
    metric.update(
        ["Ein schönes Café in Köln"], [unicodedata.normalize("NFD", "Ein schönes Café in Köln")]
    )
    assert [float(value) for value in metric.compute().values()] == pytest.approx([100] * 3)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word"])
@pytest.mark.parametrize("nfc", [True, False])
def test_a_vocabulary_normalises_or_not_and_comes_back(kind, nfc):
    words = ["Việt", "caf\u00e9", "می‌خواهم"]
    typed = [unicodedata.normalize("NFD", word) for word in words]
    vocabulary = Subwords.train([" ".join(words + typed)] * 9, kind=kind, nfc=nfc, size=80)
    again = Subwords.from_spec(vocabulary.to_spec())
    one, other = again.encode_batch([" ".join(words[:2]), " ".join(typed[:2])])
    assert (one == other) == nfc
    assert again.decode(other) == " ".join(words[:2] if nfc else typed[:2])
    assert again.encode_batch(["\ufeffcafé\u200bmehr"]) == again.encode_batch(["café mehr"])


def test_vocabularies_of_plain_text_are_what_they_were():
    """Joiners change the rules of those texts only that have them: old runs can be gone on with."""
    rules = [
        Subwords.train([text], kind="word").to_spec()["tokenizer"] for text in ("a dog", "می‌خواهم")
    ]
    assert ["\\u200c" in rule or "\u200c" in rule.partition("model")[0] for rule in rules] == [
        False,
        True,
    ]


def test_words_of_marks_are_matched_with_subwords():
    vocabulary = Subwords.train(["कुत्ता dog १"], kind="word")
    assert {"▁कुत्ता", "▁dog", "१"} <= set(alphabet(vocabulary.to_spec()).names)


def test_a_byte_order_mark_is_no_character_of_a_document(tmp_path):
    for name, text in (("a.txt", "\ufeffab"), ("b.txt", "ba\ufeffb")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    data = TextData(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    counts = data.corpus.survey()["counts"]
    assert counts == {"a": 2, "b": 3, "\ufeff": 1}  # within a text it is what was written
    assert len(data.tokens) == 2 + 6


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_are_brought_to_one_form_wherever_they_are_cut(size):
    text = unicodedata.normalize("NFD", "é" * 5 + "작은 갈색 개 ệ क़ " + "a" + "\u0301" * 9000)
    pieces = (text[begin : begin + size] for begin in range(0, len(text), size))
    assert "".join(composed_pieces(pieces)) == unicodedata.normalize("NFC", text)
