"""The command, with the encoders that ship."""

import pyarrow.parquet as pq

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.encoders import Encoders
from features.schema import USER_PROFILE
from features.simulate import LATENT_TASTES, main
from features.store import StoreConfig, open_store
from features.vector import fingerprint
from tests.features.pictures import make_shop


def test_the_command_makes_shoppers_with_the_encoders_of_the_checkpoint(tmp_path, capsys):
    shop, home = make_shop(tmp_path / "shop"), tmp_path / "home"
    arguments = ["--shoppers", "20", "--creatives", "12", "--seed", "3"]
    status = main([*arguments, "--home", str(home), "--catalogue", str(shop)])
    assert status == 0 and "20 shoppers" in capsys.readouterr().out
    encoders = Encoders.load(DEFAULT_CHECKPOINT / "encoders")
    store = open_store(StoreConfig(home=home))
    assert store.fingerprint() == fingerprint(encoders.width, encoders.digest)
    profiles = pq.read_table(store.config.offline_folder(USER_PROFILE))
    widths = {len(row) for row in profiles["embedding"].to_pylist() if row is not None}
    assert widths == {encoders.width}
    assert pq.read_metadata(home / LATENT_TASTES).num_rows == 20
