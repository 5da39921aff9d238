"""Names in NIfTI headers are read where they are honest; anything else is no names, never a crash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_files import blob, names_extension

from hepar.errors import BadInput
from hepar.predictions.entries import Entry
from hepar.predictions.nifti_header import names_in_xml, nifti_header

TOTAL = {1: "spleen", 5: "liver & bile", 26: "hepatic tumor"}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_names_and_spacing_are_read_from_either_kind_of_file(files, name):
    header = nifti_header(Entry(files.save(name, names=TOTAL)))
    assert header.names.pairs == tuple(TOTAL.items())
    assert header.spacing_mm == (5, 2, 1)


def test_a_nifti_2_header_is_read_alike(files):
    import nibabel

    image = nibabel.Nifti2Image(blob().T, np.diag([1.5, 2, 5, 1]))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, names_extension(TOTAL)))
    nibabel.save(image, files.root / "a.nii")
    header = nifti_header(Entry(files.root / "a.nii"))
    assert (header.names.pairs, header.spacing_mm) == (tuple(TOTAL.items()), (5, 2, 1.5))


def test_a_file_without_a_table_names_nothing(files):
    import nibabel

    assert nifti_header(Entry(files.save("a.nii"))).names is None
    image = nibabel.Nifti1Image(blob().T, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a remark"))
    nibabel.save(image, files.root / "b.nii")
    assert nifti_header(Entry(files.root / "b.nii")).names is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<LabelTable>",
        b"<a><LabelTable/></a>",
        b'<a><LabelTable><Label Key="x">liver</Label></LabelTable></a>',
        b"<a><LabelTable><Label>liver</Label></LabelTable></a>",
        b'<a><LabelTable><Label Key="-1">liver</Label></LabelTable></a>',
        b'<?xml version="1.0" encoding="none"?><a><LabelTable><Label Key="1">liver</Label></LabelTable></a>',
        b'<!DOCTYPE a [<!ENTITY b "liver">]><a><LabelTable><Label Key="1">&b;</Label></LabelTable></a>',
    ],
)
def test_xml_that_is_no_honest_table_names_nothing(content):
    assert names_in_xml(content) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.integers(340, 500), st.binary(min_size=1, max_size=12), st.integers(0, 700))
def test_a_damaged_header_is_no_names_or_bad_input(files, at, noise, cut):
    path = files.save("a.nii", names=TOTAL)
    content = path.read_bytes()
    path.write_bytes((content[:at] + noise + content[at + len(noise) :])[: cut or None])
    try:
        header = nifti_header(Entry(path))
    except BadInput as error:
        assert "'a.nii'" in str(error)
    else:
        assert header.names is None or header.names.pairs
