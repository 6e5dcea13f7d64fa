"""DICOM metadata: an allow-list of numbers and words; nothing that PS3.15 calls identifying."""

import base64
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_support import SNOMED, session
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from support.depth import examples

from privacy import gate
from privacy.dicom import ATTRIBUTES, PROFILE, Judge, collect_dicom, listed
from privacy.dicom.tables import _rows
from privacy.errors import PolicyError
from privacy.explain import differences, explain
from privacy.policy import load_policy, make_policy, policy_ids, read_policy

Json = dict[str, Any]
POLICY = load_policy("safe-harbor")
JUDGE = Judge({path: verdict.action for path, verdict in POLICY.dicom.items()})

STUDY, SERIES, INSTANCE = "2.999.117.1559319163074", "2.999.117.5.1", "2.999.117.5.1.7"


def element(vr: str, *values: Any) -> Json:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def ct(**changes: Json) -> Json:
    """One image of a CT as archives hold it: some twenty things that identify, and the rest."""
    base = {
        "00080005": element("CS", "ISO_IR 192"),
        "00080008": element("CS", "ORIGINAL", "PRIMARY", "AXIAL"),
        "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.2"),
        "00080018": element("UI", INSTANCE),
        "00080020": element("DA", "20190807"),
        "00080030": element("TM", "101112.334455"),
        "00080050": element("SH", "ACC7741902"),
        "00080060": element("CS", "CT"),
        "00080080": element("LO", "Example General Hospital"),
        "00080090": element("PN", {"Alphabetic": "Quackenbush^Ann^^Dr"}),
        "00081010": element("SH", "CTROOM3"),
        "00081030": element("LO", "Thorax of Zofie M."),
        "0008103E": element("LO", "MUELLER^ZOFIE 5.0 B30f"),
        "00081090": element("LO", "Somatom"),
        "00081190": element("UR", "https://pacs.example.org/studies/2.999.117.1559319163074"),
        "00100010": element("PN", {"Alphabetic": "Mueller^Zofie", "Ideographic": "ミュラー"}),
        "00100020": element("LO", "MRN0048151623"),
        "00100030": element("DA", "19541103"),
        "00100040": element("CS", "F"),
        "00101000": element("LO", "OLD-99123"),
        "00101010": element("AS", "064Y"),
        "00104000": element("LT", "lives at 931 Doyle Corner"),
        "00180010": element("LO", "Ultravist 370, batch 44"),
        "00180015": element("CS", "CHEST"),
        "00180050": element("DS", 1.25),
        "00180060": element("DS", "120"),
        "00181000": element("LO", "SN778812"),
        "00181030": element("LO", "Thorax^1_Routine (Adult)"),
        "00181151": element("IS", 310),
        "00185100": element("CS", "HFS"),
        "0020000D": element("UI", STUDY),
        "0020000E": element("UI", SERIES),
        "00200013": element("IS", 7),
        "00280010": element("US", 512),
        "00280030": element("DS", 0.7, 0.7),
        "00290010": element("LO", "SIEMENS MEDCOM HEADER"),
        "00291020": {"vr": "UN", "InlineBinary": base64.b64encode(b"Mueller").decode()},
        "7FE00010": {"vr": "OW", "BulkDataURI": "https://pacs.example.org/bulk/7"},
    }
    return base | changes


def judged(*datasets: Json) -> tuple[Json, Counter[tuple[str, str]]]:
    counts: Counter[tuple[str, str]] = Counter()
    return JUDGE.acquisition(datasets, counts), counts


# -- tables ----------------------------------------------------------------------------------------


def test_the_attributes_are_as_an_independent_dictionary_has_them() -> None:
    for row in _rows("attributes.csv"):
        keyword = row["keyword"]
        assert f"{tag_for_keyword(keyword):08X}" == row["tag"]
        assert (dictionary_VR(keyword), dictionary_VM(keyword)) == (row["vr"], row["vm"])
    known = [row for row in PROFILE.items() if tag_for_keyword(row[1].keyword) is not None]
    assert len(known) > 600
    for tag, row in known:
        if "x" not in tag:
            assert f"{tag_for_keyword(row.keyword):08X}" == tag


@pytest.mark.parametrize(
    ("tag", "keyword", "action"),
    [
        ("00100010", "PatientName", "Z"),
        ("00100020", "PatientID", "Z/D"),
        ("00080050", "AccessionNumber", "Z"),
        ("0020000D", "StudyInstanceUID", "U"),
        ("0008103E", "SeriesDescription", "X"),
        ("00181000", "DeviceSerialNumber", "X/Z/D"),
        ("00180010", "ContrastBolusAgent", "Z/D"),
        ("60024000", "OverlayComments", "X"),
        ("50100010", "CurveData", "X"),
    ],
)
def test_table_e_1_1_says_what_identifies(tag: str, keyword: str, action: str) -> None:
    assert listed(tag) == (keyword, action)


@pytest.mark.parametrize("tag", ["00180050", "00180060", "00180087", "00280030", "00181152"])
def test_how_an_image_was_acquired_is_not_in_it(tag: str) -> None:
    assert listed(tag) is None


# -- the policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "verdict", "message"),
    [
        ("PatientName", "present", "attributes.csv has no PatientName"),
        ("PatientID", "code", "lists it as identifying"),
        ("StudyInstanceUID", "number", "lists it as identifying"),
        ("ContrastBolusAgent", "code", "lists it as identifying"),
        ("KVP", "keep", "no such verdict"),
        ("KVP", "number: x", "check what follows the colon"),
        ("KVP", "drop", "check what follows the colon"),
        ("KVP", "code", "no closed list of words"),
        ("Modality", "code", "no closed list of words"),
        ("PatientPosition", "number", "does not judge CS"),
        ("KVP.SliceThickness", "number", "only a sequence holds attributes"),
    ],
)
def test_a_verdict_that_could_let_identity_pass_does_not_load(
    path: str, verdict: str, message: str
) -> None:
    table = read_policy("safe-harbor")
    table["dicom"] = table["dicom"] | {path: verdict}
    with pytest.raises(PolicyError, match=message):
        make_policy(table)


def test_no_attribute_can_be_left_unjudged() -> None:
    for path in ("SliceThickness", "PatientID", "RadionuclideHalfLife"):
        table = read_policy("safe-harbor")
        kept = {k: v for k, v in table["dicom"].items() if path not in k.split(".")}
        table["dicom"] = kept
        with pytest.raises(PolicyError, match=f"{path} has no verdict"):
            make_policy(table)


def test_every_policy_judges_dicom_alike() -> None:
    """None of them may keep more: numbers of an acquisition help nobody more with a date."""
    assert {tuple(load_policy(name).dicom.items()) for name in policy_ids()} == {
        tuple(POLICY.dicom.items())
    }
    paths = [d.what for d in differences(POLICY, load_policy("limited-data-set"))]
    assert not [path for path in paths if path.startswith("DICOM.")]


def test_an_attribute_is_explained_with_its_action_in_table_e_1_1() -> None:
    asked = explain(POLICY, "DICOM.ContrastBolusAgent")
    assert (asked.action, asked.reason) == ("present", "PS3.15 Table E.1-1: Z/D")
    other = explain(POLICY, "DICOM.PatientName")
    assert (other.action, other.reason) == ("drop", "not asked for; PS3.15 Table E.1-1: Z")
    assert explain(POLICY, "DICOM.KVP").reason == "not in PS3.15 Table E.1-1"
    with pytest.raises(PolicyError, match=r"keyword as DICOM\.SliceThickness"):
        explain(POLICY, "DICOM.Nonsense")


# -- judging ---------------------------------------------------------------------------------------


def test_of_a_real_looking_image_only_the_acquisition_passes() -> None:
    found, counts = judged(ct())
    assert found == {
        "read": 1,
        "values": {
            "ContrastBolusAgent": [[True]],
            "SliceThickness": [[1.25]],
            "KVP": [[120.0]],
            "XRayTubeCurrent": [[310.0]],
            "PatientPosition": [["HFS"]],
            "Rows": [[512.0]],
            "PixelSpacing": [[0.7, 0.7]],
        },
    }
    assert counts[("PatientName", "drop:profile-Z")] == 1
    assert counts[("PatientID", "drop:compared")] == 1
    assert counts[("SeriesDescription", "drop:profile-X")] == 1
    assert counts[("Modality", "drop:copied-to-fhir")] == 1
    assert counts[("*", "drop:private")] == 2
    assert sum(counts.values()) == len(ct())


def test_every_attribute_is_counted_once_and_by_a_published_name() -> None:
    _, counts = judged(
        ct(**{"55501420": element("LO", "555-0142"), "MRN00481": element("LO", "x")})
    )
    names = {name for name, _ in counts}
    assert names <= {"*"} | set(POLICY.dicom) | {row.keyword for row in PROFILE.values()}


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        (element("LO", "Ultravist 370"), [[True]]),
        (element("LO", "APPLIED"), [[True]]),
        (element("LO", "none"), [[False]]),
        (element("LO"), None),
        (element("LO", ""), None),
        (element("LO", None), None),
        ({"vr": "LO", "Value": "x"}, None),
        ("x", None),
    ],
)
def test_a_contrast_agent_is_a_yes_or_a_no_and_an_empty_one_neither(agent: Any, told: Any) -> None:
    found, _ = judged({"00180010": agent})
    assert found["values"].get("ContrastBolusAgent") == told


def test_functional_groups_are_looked_through_once() -> None:
    measures = {"00289110": element("SQ", {"00180050": element("DS", 3)})}
    per_frame = [
        {"00189114": element("SQ", {"00189082": element("FD", echo)})} for echo in (30.0, 80.0)
    ]
    nested = measures | {"52009229": element("SQ", measures)}
    found, counts = judged(
        {"52009229": element("SQ", nested), "52009230": element("SQ", *per_frame)}
    )
    assert found["values"] == {
        "PixelMeasuresSequence.SliceThickness": [[3.0]],
        "MREchoSequence.EffectiveEchoTime": [[30.0], [80.0]],
    }
    assert counts[("MREchoSequence.EffectiveEchoTime", "number")] == 2


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("00180050", element("DS", "5 mm")),
        ("00180050", element("DS", "Mueller")),
        ("00180050", element("DS", "NaN")),
        ("00180050", element("DS", "1e400")),
        ("00180050", element("DS", 20190807101112)),
        ("00180050", element("DS", True)),
        ("00180050", element("DS", {"Alphabetic": "Mueller"})),
        ("00180050", element("DS", "0" * 40)),
        ("00180050", {"vr": "DS", "Value": {"0": 1}}),
        ("00180050", "1.25"),
        ("00180050", None),
        ("00185100", element("CS", "MUELLER")),
        ("00185100", element("CS", "HFS", "MUELLER")),
        ("00185100", element("CS", 3)),
        ("00540016", element("SQ", "x", None, 3)),
        ("00540016", {"vr": "SQ", "Value": {"00181074": 1}}),
    ],
)
def test_what_has_not_the_expected_shape_is_dropped(tag: str, value: Any) -> None:
    found, _ = judged({tag: value})
    assert found == {"read": 1, "values": {}}


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["HFS", "SE", "EP", "120", "-1.5", "NO"]),
    st.dictionaries(st.sampled_from(["Alphabetic", "x"]), st.text(max_size=8), max_size=2),
)  # fmt: skip
TAGS = st.one_of(
    st.sampled_from(sorted(a.tag for a in ATTRIBUTES.values())),
    st.sampled_from(sorted(PROFILE)),
    st.text("0123456789ABCDEF", min_size=8, max_size=8),
)
DATASETS = st.recursive(
    st.dictionaries(
        TAGS,
        st.one_of(
            SCALARS,
            st.fixed_dictionaries(
                {"vr": st.sampled_from(["DS", "CS", "LO", "SQ"])},
                optional={"Value": st.lists(SCALARS, max_size=3)},
            ),
        ),
        max_size=6,
    ),
    lambda inner: st.dictionaries(
        TAGS,
        st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=2)}),
        max_size=3,
    ),
    max_leaves=6,
)


@settings(max_examples=examples(200))
@given(st.lists(DATASETS, max_size=3))
def test_whatever_an_archive_sends_no_free_string_passes(datasets: list[Json]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    found = JUDGE.acquisition(datasets, counts)
    assert found["values"].keys() <= POLICY.dicom.keys()
    for path, places in found["values"].items():
        attribute = ATTRIBUTES[path.rpartition(".")[2]]
        for value in (value for place in places for value in place):
            assert type(value) in (float, bool) or value in attribute.words
    names = {row.keyword for row in PROFILE.values()} | POLICY.dicom.keys() | {"*"}
    assert {name for name, _ in counts} <= names


# -- in the record ---------------------------------------------------------------------------------


def test_the_acquisition_stands_in_its_series_and_nothing_else_of_it() -> None:
    study = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "series": [
            {"uid": SERIES, "bodySite": {"system": SNOMED, "code": "38341003"}},
            {"uid": "2.999.1", "number": 2},
        ],
    }
    run = session(series={SERIES: [ct(), ct()]})
    record = run.apply(study)
    assert isinstance(record, dict)
    first, second = record["series"]
    assert first["acquisition"]["read"] == 2
    assert first["acquisition"]["values"]["SliceThickness"] == [[1.25], [1.25]]
    assert "acquisition" not in second
    text = json.dumps(record)
    for secret in (STUDY, SERIES, INSTANCE, "MRN", "Mueller", "ACC7741902", "Thorax", "1954"):
        assert secret not in text
    key = ("ImagingStudy", "series.dicom.PatientName", "drop:profile-Z")
    assert run.counts[key] == 2


def test_a_server_cannot_slip_an_acquisition_in_through_fhir() -> None:
    forged = {"read": 1, "values": {"KVP": [["Mueller"]]}}
    study = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "series": [{"uid": SERIES, "number": 1, "acquisition": forged}],
    }
    for series in ({}, {"2.999.77": [ct()]}):
        record = session(series=series).apply(study)
        assert isinstance(record, dict)
        assert record["series"] == [{"number": 1}]


# -- the gate --------------------------------------------------------------------------------------


def hits(planted: Any) -> set[str]:
    values = gate.IdentifyingValues()
    collect_dicom([ct()], values)
    return {h.rule for h in gate.check(json.dumps({"planted": planted}).encode(), values).hits}


@pytest.mark.parametrize(
    "text",
    [
        STUDY, f"urn:oid:{STUDY}", f"oid:{STUDY}", SERIES, INSTANCE, f"x/{STUDY}/y",
        "MUELLER^ZOFIE", "Mueller^Zofie", "zofie", "Quackenbush", "ミュラー",
        "ACC7741902", "acc-7741902", "MRN0048151623", "OLD-99123", "SN778812", "CTROOM3",
        "Example General Hospital", "lives at 931 Doyle Corner", "2019-08-07", "20190807",
        "19541103", "101112.334455", base64.b64encode(b"MRN0048151623").decode(),
        "MUELLER^ZOFIE 5.0 B30f", "SIEMENS MEDCOM HEADER",
    ],
)  # fmt: skip
def test_whatever_identifies_in_the_metadata_stops_a_twin(text: str) -> None:
    assert hits(text)


def test_the_same_for_everybody_stops_none() -> None:
    """UIDs of the standard, words, codes and what was measured."""
    values = gate.IdentifyingValues()
    code = {"00080100": element("SH", "51185008"), "00080102": element("SH", "SCT")}
    collect_dicom([ct(**{"00082218": element("SQ", code)})], values)
    assert "1.2.840.10008.5.1.4.1.1.2" not in values.codes
    honest = {"code": "51185008", "modality": "CT", "v": [1.25, 120, 310], "words": ["HFS"]}
    assert gate.check(json.dumps(honest).encode(), values).passed


@settings(max_examples=examples(100))
@given(st.lists(st.one_of(DATASETS, SCALARS), max_size=3))
def test_the_gate_reads_whatever_an_archive_sends(datasets: list[Any]) -> None:
    collect_dicom(datasets, gate.IdentifyingValues())


def test_a_name_as_dicom_writes_it_is_found_in_fhir_too() -> None:
    study = {
        "resourceType": "ImagingStudy",
        "series": [
            {"description": "OKONKWO^NGOZI", "instance": [{"title": "Image of Ngozi Okonkwo"}]}
        ],
    }
    values = gate.collect_identifiers([study])
    assert {"okonkwo", "ngozi"} <= values.words
    assert not gate.check(b'{"x":"okonkwo"}', values).passed


def test_the_dates_of_the_metadata_are_dates() -> None:
    values = gate.IdentifyingValues()
    collect_dicom([ct(**{"00080022": element("DT", "20210301101112.000000+0100")})], values)
    assert {("2021", "03", "01"), ("2019", "08", "07"), ("1954", "11", "03")} <= values.dates
