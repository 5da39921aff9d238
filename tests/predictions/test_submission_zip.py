"""A submission's .zip is read member by member; a bad member fails alone, a hostile one takes no memory."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
from label_files import GRID, blob

from hepar.errors import BadInput
from hepar.predictions import entries, match, open_predictions, open_truth, read_pair


def sources(path):
    return open_predictions(path).sources


@pytest.fixture
def submission(files):
    for number in (0, 1, 10):
        files.save(f"segmentation-{number}.nii", blob(dtype=np.uint16))
    return files.pack("submission.zip", *(f"segmentation-{n}.nii" for n in (0, 1, 10)))


def test_members_are_cases(submission, files):
    with zipfile.ZipFile(submission, "a") as archive:
        archive.writestr("__MACOSX/._segmentation-0.nii", b"macOS")
        archive.writestr("._segmentation-1.nii", b"macOS")
        archive.writestr("readme.txt", b"hello")
    found = open_predictions(submission)
    assert (found.layout, list(found.sources), found.single) == ("LiTS", ["0", "1", "10"], False)
    read = found.sources["10"].read()
    assert (read.labels.labels == blob()).all()
    assert read.labels.geometry.same_grid(GRID)
    assert read.header_spacing_mm == (5, 2, 1)


def test_a_plain_member_is_never_written_to_disk(submission, monkeypatch):
    monkeypatch.setattr(entries.tempfile, "TemporaryDirectory", None)
    assert sources(submission)["1"].read().labels.labels.max() == 2


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
def test_compressed_and_other_members_are_read_one_at_a_time(files, name):
    import SimpleITK

    if name.endswith(".gz"):
        files.save(name)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(blob()), str(files.root / name))
    read = sources(files.pack("a.zip", name))["a"].read()
    assert (read.labels.labels == blob()).all()
    assert sorted(p.name for p in files.root.iterdir()) == sorted([name, "a.zip"])


def test_a_gzip_that_calls_itself_nii_is_read(files):
    files.save("a.nii.gz").rename(files.root / "a.nii")
    assert (sources(files.pack("a.zip", "a.nii"))["a"].read().labels.labels == blob()).all()


def test_one_folder_around_everything_does_not_matter(files):
    files.text("sub/dataset.json", {"labels": {"background": 0, "tumour": 1, "liver": 2}})
    for name in ("a", "b"):
        files.save(f"sub/{name}.nii.gz", blob(liver=2, tumour=1))
    found = open_predictions(files.pack("sub.zip", "sub/dataset.json", "sub/a.nii.gz", "sub/b.nii.gz"))
    assert (found.layout, list(found.sources)) == ("nnU-Net", ["a", "b"])
    assert (found.sources["b"].read().labels.labels == blob()).all()


def test_backslashes_of_windows_are_folders(files):
    with zipfile.ZipFile(files.root / "sub.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "sub\\segmentation-4.nii"
        archive.writestr(info, files.save("x.nii").read_bytes())
    (source,) = sources(files.root / "sub.zip").values()
    assert (source.case, source.file) == ("4", "segmentation-4.nii")
    assert (source.read().labels.labels == blob()).all()


def damaged(path, member: str) -> None:
    """Flip bytes in the middle of a member's packed data."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    content[start : start + 4] = bytes(255 - b for b in content[start : start + 4])
    path.write_bytes(content)


def test_a_damaged_member_fails_alone(submission):
    damaged(submission, "segmentation-1.nii")
    found = sources(submission)
    with pytest.raises(BadInput, match=r"'segmentation-1.nii'.*(cannot be unpacked|truncated|damaged)"):
        found["1"].read()
    assert found["0"].read().labels.labels.max() == 2
    assert found["10"].read().labels.labels.max() == 2


def test_a_wrong_checksum_is_found(submission, files):
    content = bytearray(submission.read_bytes())
    with zipfile.ZipFile(submission) as archive:
        crc = archive.getinfo("segmentation-1.nii").CRC
    submission.write_bytes(bytes(content).replace(struct.pack("<I", crc), struct.pack("<I", crc ^ 1)))
    # All members are equal here, so all have that sum.
    with pytest.raises(BadInput, match=r"'segmentation-1.nii' in 'submission.zip' cannot be unpacked \(BadZipFile\)"):
        sources(submission)["1"].read()


def test_a_cut_archive_is_no_zip(submission):
    submission.write_bytes(submission.read_bytes()[:-60])
    with pytest.raises(BadInput, match=r"'submission.zip' is no .zip that can be read \(BadZipFile\)"):
        sources(submission)


def test_an_encrypted_archive_is_told(submission):
    content = submission.read_bytes()
    # Bit 0 of the flags in every central directory entry says "encrypted".
    at = content.index(b"PK\x01\x02") + 8
    submission.write_bytes(content[:at] + bytes([content[at] | 1]) + content[at + 1 :])
    with pytest.raises(BadInput, match=r"'submission.zip' is encrypted; unpack it with its password"):
        sources(submission)


def test_a_member_that_claims_more_than_it_can_hold_is_refused(submission):
    content = bytearray(submission.read_bytes())
    at = bytes(content).index(b"PK\x01\x02") + 24  # the first member's size, unpacked
    content[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    submission.write_bytes(content)
    found = sources(submission)
    with pytest.raises(BadInput, match=r"'segmentation-0.nii' in 'submission.zip' claims 4,294,967,280 bytes"):
        found["0"].read()
    assert found["1"].read().labels.labels.max() == 2


def test_a_header_that_claims_more_voxels_than_its_member_has_is_refused(files):
    content = bytearray(files.save("segmentation-0.nii").read_bytes())
    content[42:44] = struct.pack("<h", 30000)
    (files.root / "segmentation-0.nii").write_bytes(content)
    path = files.pack("sub.zip", "segmentation-0.nii")
    with pytest.raises(BadInput, match=r"'segmentation-0.nii' claims a grid of 30000 x 6 x 4"):
        sources(path)["0"].read()


def test_an_archive_of_absurdly_many_files_is_refused(submission, monkeypatch):
    monkeypatch.setattr(entries, "MOST_FILES", 2)
    with pytest.raises(BadInput, match="claims 3 files; expected up to 2"):
        sources(submission)


def test_the_same_name_twice_is_ambiguous(files, recwarn):
    path = files.root / "sub.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("segmentation-3.nii", files.save("x.nii").read_bytes())
    assert open_predictions(path).ambiguous == (("3", ("segmentation-3.nii", "segmentation-3.nii")),)


def test_the_official_zips_open_as_they_lie(shared_data):
    folder = shared_data / "lits_scorer"
    truth, found = open_truth(folder / "reference.zip"), open_predictions(folder / "submission.zip")
    matching = match(truth, found)
    assert [case for case, *_ in matching.pairs] == ["0", "1", "2"]
    assert (matching.truth_only, matching.found_only, matching.ambiguous) == ((), (), ())
    pair = read_pair(*matching.pairs[0][1:])
    assert pair.truth.geometry.shape == (75, 512, 512)
    assert pair.header_spacing_mm == (5.0, 0.703125, 0.703125)
    assert pair.notes == ()
    assert matching.pairs[1][1].read().header_spacing_mm[1] == float(np.float32(0.675781))
    assert {int(label) for label in np.unique(pair.truth.labels[::10])} <= {0, 1, 2}
