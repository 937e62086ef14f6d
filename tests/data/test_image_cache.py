"""Keeping decoded images."""

import os
import pickle

import numpy as np
import pytest

from ultralytics.data.image_cache import ImageStore, available_memory


class TestStore:
    def image(self, seed, h=4, w=5):
        return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)

    def test_a_slot_holds_the_last_image(self):
        store = ImageStore([60, 60], whole=False)
        assert store.get(0, 0) is None
        store.put(0, 0, self.image(1), (8, 10))
        image, original = store.get(0, 0)
        assert np.array_equal(image, self.image(1))
        assert original == (8, 10)
        assert store.get(0, 2) is None  # another image of the same slot
        store.put(0, 2, self.image(2), (4, 5))
        assert store.get(0, 0) is None
        assert np.array_equal(store.get(0, 2)[0], self.image(2))
        assert np.array_equal(image, self.image(1))  # an image that was returned does not change

    def test_too_large_is_not_kept(self):
        store = ImageStore([59, 60])
        store.put(0, 0, self.image(1), (4, 5))
        assert store.get(0, 0) is None
        assert store.get(1, 1) is None

    def test_read_only(self):
        store = ImageStore([60])
        store.put(0, 0, self.image(1), (4, 5))
        with pytest.raises(ValueError, match="read-only"):
            store.get(0, 0)[0][:] = 0

    def test_a_file_is_reused_only_with_its_layout(self, tmp_path):
        file = tmp_path / "sub" / "store.bin"
        ImageStore([60, 60], file).put(1, 1, self.image(3), (4, 5))
        assert np.array_equal(ImageStore([60, 60], file).get(1, 1)[0], self.image(3))
        assert ImageStore([60, 90], file).get(1, 1) is None

    def test_pickled_memory_starts_empty_and_a_file_is_shared(self, tmp_path):
        for file in (None, tmp_path / "s.bin"):
            store = ImageStore([60], file)
            store.put(0, 0, self.image(1), (4, 5))
            other = pickle.loads(pickle.dumps(store))
            assert (other.get(0, 0) is None) == (file is None)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
    def test_a_forked_process_sees_what_another_put(self):
        store = ImageStore([60])
        child = os.fork()
        if not child:
            store.put(0, 0, self.image(1), (4, 5))
            os._exit(0)
        os.waitpid(child, 0)
        assert np.array_equal(store.get(0, 0)[0], self.image(1))


def test_available_memory():
    assert available_memory() > 1 << 20
