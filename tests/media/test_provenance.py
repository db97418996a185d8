"""What a colored copy says of itself, read from the file's bytes with an XML parser and without this project's code."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin
from PIL.PngImagePlugin import PngInfo

from pipeline.media.pictures import Picture, decode_picture, read_picture
from pipeline.media.provenance import Origin, colored_here, has_regions, marked, without_regions
from tests.helpers import write_picture

LIMIT = 100_000
ORIGIN = Origin("twotone-colorizer 9.9", "compact_unet, 32 px", "generator.onnx sha256 c0ffee")
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"
INSTRUCTIONS = "{http://ns.adobe.com/photoshop/1.0/}Instructions"
CREATOR = "{http://purl.org/dc/elements/1.1/}creator"
KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}
# As Lightroom writes them: properties as attributes and as elements, a history, an orientation and a profile.
SOURCE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:ColorSpace="65535" tiff:SamplesPerPixel="1" photoshop:ColorMode="1"
    tiff:Orientation="1" photoshop:ICCProfile="Adobe RGB (1998)" photoshop:Credit="An archive &amp; friends">
   <ext:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/print</ext:DigitalSourceType>
   <dc:creator><rdf:Seq><rdf:li>Am\u00e9lie</rdf:li></rdf:Seq></dc:creator>
   <xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved" stEvt:softwareAgent="A scanner"/></rdf:Seq></xmpMM:History>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def packet(file: bytes) -> ElementTree.Element:
    """The only XMP packet of a file of any format, found as scanners of packets do."""
    (found,) = re.findall(rb"<\?xpacket begin=[^>]*\?>(.*?)<\?xpacket end=", file, re.DOTALL)
    return ElementTree.fromstring(found)


def text(root: ElementTree.Element, name: str) -> str:
    (found,) = root.iter(name)
    return str(found.text)


def photograph(rng: np.random.Generator, kind: str, xmp: bytes = SOURCE) -> bytes:
    """With an XMP packet, written by Pillow."""
    image, buffer = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)), io.BytesIO()
    info, exif = PngInfo(), Image.Exif()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    exif[0x010E] = "a street"
    if kind == "TIFF":
        exif[0x02BC] = xmp
    image.save(buffer, kind, exif=exif, **({"pnginfo": info} if kind == "PNG" else {"xmp": xmp}))
    return buffer.getvalue()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ending", KINDS)
def test_a_copy_says_what_colored_it_and_keeps_what_was_said(
    tmp_path: Path, ending: str, deep: bool, rng: np.random.Generator
) -> None:
    path = tmp_path / f"in.{ending}"
    path.write_bytes(photograph(rng, KINDS[ending]))
    picture = read_picture(path, LIMIT)
    rgb = picture.pixels.astype(np.uint16) * 257 if deep else picture.pixels
    written, lost = [], "8 of its 16 bits" if deep and ending in ("jpg", "webp") else ""
    for name in ("one", "two"):
        assert write_picture(tmp_path / f"{name}.{ending}", rgb, picture, KINDS[ending], ORIGIN) == lost
        written.append((tmp_path / f"{name}.{ending}").read_bytes())
    assert written[0] == written[1]
    root = packet(written[0])
    assert text(root, f"{IPTC}DigitalSourceType") == f"{TERMS}algorithmicallyEnhanced"
    assert text(root, f"{IPTC}AISystemUsed") == "Twotone, compact_unet, 32 px"
    assert text(root, f"{IPTC}AISystemVersionUsed") == "twotone-colorizer 9.9, generator.onnx sha256 c0ffee"
    # One history, and in it the scanner before the colorizer, which tells what was stated before.
    assert [node.get(f"{EVENT}softwareAgent") or text(node, f"{EVENT}softwareAgent")
            for node in next(root.iter("{http://ns.adobe.com/xap/1.0/mm/}History"))[0]] == [
        "A scanner", "twotone-colorizer 9.9",
    ]  # fmt: skip
    assert text(root, f"{EVENT}parameters").endswith(f"digital source type before: {TERMS}print")
    assert [node.text for node in next(root.iter(CREATOR)).iter(f"{RDF}li")] == ["Am\u00e9lie"]
    assert {node.get(f"{RDF}about") for node in root.iter(f"{RDF}Description")} == {"uuid:1"}
    first = next(root.iter(f"{RDF}Description"))
    assert first.get("{http://ns.adobe.com/photoshop/1.0/}Credit") == "An archive & friends"
    gone = ("Orientation", "ICCProfile", "ColorMode", "SamplesPerPixel", "ColorSpace")
    assert not [key for key in first.keys() if key.endswith(gone)]  # noqa: SIM118
    # And Pillow finds both packets where it looks for them.
    with Image.open(io.BytesIO(written[0])) as image:
        image.load()
        assert image.getexif()[0x010E] == "a street"
        assert b"algorithmicallyEnhanced" in image.info["xmp"]


def test_a_gray_scan_becomes_a_picture_in_srgb(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x0106], exif[0x0115], exif[0x010E] = 1, 1, "a street"
    exif.get_ifd(0x8769)[0xA001] = 65535  # EXIF 2.3, 4.6.5: uncalibrated
    Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(tmp_path / "scan.jpg", exif=exif)
    picture = read_picture(tmp_path / "scan.jpg", LIMIT)
    assert write_picture(tmp_path / "color.jpg", np.zeros((20, 30, 3), np.uint8), picture, "JPEG", ORIGIN) == ""
    with Image.open(tmp_path / "color.jpg") as image:
        found = image.getexif()
        assert (found[0x010E], found.get_ifd(0x8769)[0xA001]) == ("a street", 1)
        assert not {0x0106, 0x0115} & set(found)


def test_a_picture_without_xmp_gets_some(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    plain = Picture(rgb, None, b"", None, "PNG")
    redrawn = Origin("twotone-colorizer 9.9", "compact_unet, 32 px", "generator.onnx sha256 c0ffee", redrawn=True)
    for ending, kind in KINDS.items():
        assert write_picture(tmp_path / f"out.{ending}", rgb, plain, kind, redrawn) == ""
        root = packet((tmp_path / f"out.{ending}").read_bytes())
        assert text(root, f"{IPTC}DigitalSourceType") == f"{TERMS}compositeWithTrainedAlgorithmicMedia"
        assert "before" not in text(root, f"{EVENT}parameters")


def test_a_bmp_has_it_behind_its_pixels(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    said = Picture(rgb, None, b"", None, "PNG", SOURCE)
    assert write_picture(tmp_path / "out.bmp", rgb, said, "BMP", ORIGIN) == ""
    content = (tmp_path / "out.bmp").read_bytes()
    assert colored_here(content)
    assert b"An archive &amp; friends" in content
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.bmp")), rgb)
    assert np.array_equal(read_picture(tmp_path / "out.bmp", LIMIT).pixels, rgb)


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + SOURCE.replace(
    "Am\u00e9lie".encode(), b"&b;"
)


@pytest.mark.parametrize(
    "xmp", [b"<rdf", b"<a/>", BOMB, SOURCE.decode().encode("utf-16"), nested(50_000), SOURCE + b" " * 2**22]
)
def test_xmp_that_cannot_be_read_is_named_and_the_mark_is_made(
    tmp_path: Path, xmp: bytes, rng: np.random.Generator
) -> None:
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    odd = Picture(rgb, None, b"", (300.0, 300.0), "PNG", xmp)
    assert write_picture(tmp_path / "out.png", rgb, odd, "PNG", ORIGIN) == "its XMP"
    root = packet((tmp_path / "out.png").read_bytes())
    assert text(root, f"{IPTC}DigitalSourceType") == f"{TERMS}algorithmicallyEnhanced"
    assert Image.open(tmp_path / "out.png").info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_xmp_too_long_for_a_jpeg_is_named_and_the_mark_is_made(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    long = SOURCE.replace("Am\u00e9lie".encode(), b"x" * 70_000)
    exif = Image.Exif()
    exif[0x010E] = "a street"
    picture = Picture(rgb, None, exif.tobytes(), None, "PNG", long)
    assert write_picture(tmp_path / "out.jpg", rgb, picture, "JPEG", ORIGIN) == "its XMP"
    assert text(packet((tmp_path / "out.jpg").read_bytes()), f"{IPTC}DigitalSourceType")
    assert Image.open(tmp_path / "out.jpg").getexif()[0x010E] == "a street"
    assert write_picture(tmp_path / "out.webp", rgb, picture, "WEBP", ORIGIN) == ""


def test_texts_that_are_not_read_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "in.jpg"
    extended = b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="0123" tiff:Orientation='
    path.write_bytes(photograph(rng, "JPEG", SOURCE.replace(b"tiff:Orientation=", extended)))
    assert read_picture(path, LIMIT).lost == ("the long part of its XMP",)
    info = PngInfo()
    info.add_text("photoshop", "a text that is only called so")
    Image.new("RGB", (20, 30)).save(tmp_path / "in.png", pnginfo=info)
    assert read_picture(tmp_path / "in.png", LIMIT).lost == ("its texts",)


def with_caption(jpeg: bytes, caption: bytes, length: int | None = None) -> bytes:
    """With a block of Photoshop's that holds one text of IPTC's."""
    record = b"\x1c\x02\x78" + (len(caption) if length is None else length).to_bytes(2, "big") + caption
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record + b"\0" * (len(record) % 2)
    return jpeg[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


@pytest.mark.parametrize("comment", [b"grandpa", b"c" * 30_000, b""])
@pytest.mark.parametrize("caption", [b"a street", b"odd", b"i" * 30_000])
def test_comment_and_iptc_texts_of_a_jpeg_are_kept(
    tmp_path: Path, rng: np.random.Generator, caption: bytes, comment: bytes
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 30_000
    saved = io.BytesIO()
    still = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    still.save(saved, "JPEG", comment=comment, exif=exif, xmp=SOURCE)
    picture = decode_picture(with_caption(saved.getvalue(), caption), LIMIT)
    assert picture.lost == ()
    assert write_picture(tmp_path / "out.jpg", picture.pixels, picture, "JPEG", ORIGIN) == ""
    with Image.open(tmp_path / "out.jpg") as copy:
        copy.load()
        found = IptcImagePlugin.getiptcinfo(copy)
        assert found is not None
        assert found[(2, 120)] == caption
        assert copy.info.get("comment", b"") == comment
        assert copy.getexif()[0x010E] == exif[0x010E]
    assert text(packet((tmp_path / "out.jpg").read_bytes()), f"{IPTC}DigitalSourceType")
    named = ["its comment"] * bool(comment) + ["its IPTC-IIM texts"]
    assert write_picture(tmp_path / "out.png", picture.pixels, picture, "PNG", ORIGIN) == " and ".join(named)


def test_the_longest_texts_fit_beside_each_other(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    rgb, records = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), (b"\x1c\x02\x19\x75\x30" + b"k" * 30_000) * 2
    picture = Picture(rgb, None, exif.tobytes(), None, "JPEG", SOURCE, comment=b"c" * 65_533, iim=records)
    assert write_picture(tmp_path / "out.jpg", rgb, picture, "JPEG", ORIGIN) == ""
    again = read_picture(tmp_path / "out.jpg", LIMIT)
    assert (again.comment, again.iim) == (picture.comment, picture.iim)
    assert Image.open(tmp_path / "out.jpg").getexif()[0x010E] == exif[0x010E]


def test_iptc_texts_that_are_cut_off_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    """As where they go on in another segment."""
    picture = decode_picture(with_caption(photograph(rng, "JPEG"), b"a street", length=70), LIMIT)
    assert write_picture(tmp_path / "out.jpg", picture.pixels, picture, "JPEG", ORIGIN) == "its IPTC-IIM texts"


def test_xmp_after_the_pixels_of_a_png_is_found(tmp_path: Path, rng: np.random.Generator) -> None:
    import imagecodecs

    whole = photograph(rng, "PNG")
    place = whole.index(b"iTXt") - 4
    size = int.from_bytes(whole[place : place + 4], "big") + 12
    chunk = whole[place : place + size]
    deep = bytes(imagecodecs.png_encode(rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)))
    for name, plain in (("eight.png", whole[:place] + whole[place + size :]), ("deep.png", deep)):
        end = plain.index(b"IEND") - 4
        (tmp_path / name).write_bytes(plain[:end] + chunk + plain[end:])
        assert read_picture(tmp_path / name, LIMIT).xmp == SOURCE


def test_a_film_and_a_gain_map_that_the_copy_does_not_have_are_not_announced() -> None:
    """As phones write them into the XMP of a JPEG, whose film or gain map follows the picture."""
    given = SOURCE.replace(
        b'photoshop:Credit="An archive &amp; friends"',
        b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
        b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" '
        b'photoshop:Credit="An archive"',
    ).replace(
        b"<dc:creator>",
        b'<c:Directory xmlns:c="http://ns.google.com/photos/1.0/container/"><rdf:Seq><rdf:li/></rdf:Seq></c:Directory>'
        b"<dc:creator>",
    )
    text = marked(given, ORIGIN).decode()
    assert "An archive" in text
    assert "creator" in text
    for gone in ("hdrgm:Version", "GCamera:MotionPhoto", "Directory"):
        assert gone in given.decode()
        assert gone not in text


def test_a_copy_that_another_program_has_saved_again_is_known() -> None:
    """exiv2, and programs that write with it, make attributes of simple properties."""
    ours = marked(b"", ORIGIN)
    assert colored_here(ours)
    as_element = re.compile(rb"<(\w+:AISystemUsed) (xmlns[^>]*)>([^<]*)</\1>")
    name, space, program = as_element.search(ours).groups()  # type: ignore[union-attr]
    as_attribute = b'<rdf:Description %b %b="%b" ' % (space, name, program)
    again = as_element.sub(b"", ours).replace(b"<rdf:Description ", as_attribute)
    ElementTree.fromstring(again.decode().replace("\ufeff", ""))
    assert colored_here(again)
    assert not colored_here(again.replace(b"Twotone", b"Another"))


def test_line_breaks_of_a_text_stay() -> None:
    given = SOURCE.replace(
        b'photoshop:Credit="', b'photoshop:Instructions="one&#xA;two&#x9;three&#xD;" photoshop:Credit="'
    )
    text = marked(given, ORIGIN).decode().replace("\ufeff", "")
    said = [node.get(INSTRUCTIONS) for node in ElementTree.fromstring(text).iter(f"{RDF}Description")]
    assert said[0] == "one\ntwo\tthree\r"


def test_places_of_a_picture_that_was_turned_are_taken_out() -> None:
    regions = (
        b'<MP:RegionInfo xmlns:MP="http://ns.microsoft.com/photo/1.2/" rdf:parseType="Resource"/>'
        b"<ext:ImageRegion><rdf:Bag/></ext:ImageRegion>"
    )
    given = SOURCE.replace(b"<dc:creator>", regions + b"<dc:creator>")
    assert has_regions(given)
    assert not has_regions(SOURCE)
    left = without_regions(given)
    assert not has_regions(left)
    assert b"creator" in left
