"""Small models with random weights under the names that test suites would download.

    python random_models.py FOLDER

Writes them to FOLDER as a cache of the Hugging Face Hub. With HF_HOME=FOLDER and
HF_HUB_OFFLINE=1 their loaders find them there, and nothing is fetched from anywhere.
"""

import json
import string
import sys
import tempfile
from pathlib import Path

import sentencepiece
import torch
import transformers

REVISION = "0" * 40
WORDS = (
    "the a an this that and or is was in of to on with for from he she it we you they i "
    "cat dog house tree time year people way day man thing world life hand part child eye "
    "woman place work week case point company number group problem fact good new first last "
    "long great little own other old right big high small large next early young important "
    "jack jill went up hill fetch pail water fell down broke crown tumbling after yes hello"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH = 32
# In the words of the various configurations.
BERT_SIZES = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 514,
}  # fmt: skip


def wordpiece(folder: Path, cls, **settings):
    letters = list(string.ascii_letters + string.digits + string.punctuation)
    vocabulary = [*SPECIAL, *letters, *("##" + letter for letter in letters)]
    vocabulary += [word for word in WORDS if word not in vocabulary]
    path = folder / "vocab.txt"
    path.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return cls(str(path), **settings)


def byte_pairs(folder: Path, cls, special):
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    symbols = [*special, *bytes_to_unicode().values()]
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return cls(str(folder / "vocab.json"), str(folder / "merges.txt"))


def pieces(folder: Path, cls, **special):
    text = folder / "text.txt"
    rows = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
    text.write_text("\n".join(rows + list(string.printable.strip())), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=200,
        character_coverage=1.0, hard_vocab_limit=False, minloglevel=2, **special,
    )  # fmt: skip
    return cls(str(folder / "spiece.model"))


def distilbert(folder: Path):
    tokenizer = wordpiece(folder, transformers.DistilBertTokenizer)
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=64
    )
    return tokenizer, config, transformers.DistilBertModel


def bert(folder: Path):
    tokenizer = wordpiece(folder, transformers.BertTokenizer, do_lower_case=False)
    config = transformers.BertConfig(vocab_size=len(tokenizer), **BERT_SIZES)
    return tokenizer, config, transformers.BertModel


def classifier(folder: Path):
    tokenizer, config, _ = distilbert(folder)
    return tokenizer, config, transformers.DistilBertForSequenceClassification


def gpt2(folder: Path):
    tokenizer = byte_pairs(folder, transformers.GPT2Tokenizer, ["<|endoftext|>"])
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=WIDTH, n_layer=2, n_head=2, n_positions=512,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return tokenizer, config, transformers.GPT2Model


def roberta(folder: Path):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = byte_pairs(folder, transformers.RobertaTokenizer, special)
    config = transformers.RobertaConfig(vocab_size=len(tokenizer), **BERT_SIZES)
    return tokenizer, config, transformers.RobertaModel


def xlnet(folder: Path):
    tokenizer = pieces(
        folder, transformers.XLNetTokenizer, unk_id=0, bos_id=1, eos_id=2,
        control_symbols="<cls>,<sep>,<pad>,<mask>,<eod>,<eop>",
    )  # fmt: skip
    config = transformers.XLNetConfig(
        vocab_size=len(tokenizer), d_model=WIDTH, n_layer=2, n_head=2, d_inner=64
    )
    return tokenizer, config, transformers.XLNetModel


def albert(folder: Path):
    tokenizer = pieces(
        folder, transformers.AlbertTokenizer, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
        control_symbols="[CLS],[SEP],[MASK]",
    )  # fmt: skip
    config = transformers.AlbertConfig(
        vocab_size=len(tokenizer), embedding_size=16, **BERT_SIZES
    )
    return tokenizer, config, transformers.AlbertModel


def xlm_roberta(folder: Path):
    tokenizer = pieces(folder, transformers.XLMRobertaTokenizer, unk_id=0, bos_id=1, eos_id=2)
    config = transformers.XLMRobertaConfig(vocab_size=len(tokenizer), **BERT_SIZES)
    return tokenizer, config, transformers.XLMRobertaModel


MODELS = {
    "bert-base-cased": bert,
    "distilbert-base-uncased": distilbert,
    "sgugger/tiny-distilbert-classification": classifier,
    "hf-internal-testing/tiny-random-DistilBertModel": distilbert,
    "hf-internal-testing/tiny-random-gpt2": gpt2,
    "hf-internal-testing/tiny-random-xlnet": xlnet,
    "hf-internal-testing/tiny-xlm-roberta": xlm_roberta,
    "albert-base-v2": albert,
    "roberta-base": roberta,
}


def write(hub: Path, name: str, make) -> None:
    place = hub / ("models--" + name.replace("/", "--"))
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(REVISION)
    snapshot = place / "snapshots" / REVISION
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, config, cls = make(Path(folder))
        tokenizer.model_max_length = 512
        tokenizer.save_pretrained(snapshot)
        # What is needed to find tokens in a text, too.
        fast = transformers.AutoTokenizer.from_pretrained(snapshot, use_fast=True)
        fast.save_pretrained(snapshot)
    # Not as safetensors: those are mapped into memory as they lie in the file, and the last
    # bit of a product may depend on how its operands are aligned.
    cls(config).save_pretrained(snapshot, safe_serialization=False)


def main() -> None:
    torch.manual_seed(0)
    hub = Path(sys.argv[1]) / "hub"
    for name, make in MODELS.items():
        write(hub, name, make)
        print(name)


if __name__ == "__main__":
    main()
