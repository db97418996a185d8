"""Say in a picture's XMP that a network has colored it, beside what its XMP said before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from mmap import mmap
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from pipeline.errors import ImageError

# IPTC's NewsCodes of digital source types, as of 2024-10-23, and which of them fits:
# - algorithmicallyEnhanced, "algorithmically-altered media": a correction by an algorithm that does not change the main
#   content. The lightness of every pixel, and with it all that the photograph shows, stays; only color is added.
# - compositeWithTrainedAlgorithmicMedia, "edited using generative AI": such as inpainting. It fits where the network's
#   own picture is shown, lightness and all.
# - trainedAlgorithmicMedia is for pictures that were made without a photograph.
_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_ALTERED = f"{_TERMS}algorithmicallyEnhanced"
_REDRAWN = f"{_TERMS}compositeWithTrainedAlgorithmicMedia"

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_HISTORY = "http://ns.adobe.com/xap/1.0/mm/"
_EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
# What the colored copy states anew, and what is no longer true of it: it is upright, in color and in sRGB, and in one
# packet.
_SOURCE_TYPE = (_IPTC, "DigitalSourceType")
_REPLACED = (
    _SOURCE_TYPE,
    (_IPTC, "AISystemUsed"),
    (_IPTC, "AISystemVersionUsed"),
    ("http://ns.adobe.com/tiff/1.0/", "Orientation"),
    ("http://ns.adobe.com/tiff/1.0/", "ImageWidth"),
    ("http://ns.adobe.com/tiff/1.0/", "ImageLength"),
    ("http://ns.adobe.com/exif/1.0/", "PixelXDimension"),
    ("http://ns.adobe.com/exif/1.0/", "PixelYDimension"),
    ("http://ns.adobe.com/tiff/1.0/", "PhotometricInterpretation"),
    ("http://ns.adobe.com/tiff/1.0/", "SamplesPerPixel"),
    ("http://ns.adobe.com/photoshop/1.0/", "ICCProfile"),
    ("http://ns.adobe.com/photoshop/1.0/", "ColorMode"),
    ("http://ns.adobe.com/exif/1.0/", "ColorSpace"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
)
# Films and gain maps behind the picture, which phones add and the copy does not have.
_GONE = (
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
)
# Where faces and things are: Metadata Working Group, guidelines 2.0, 5.9; Microsoft; IPTC 2019.1.
_REGIONS = (
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo"),
    (_IPTC, "ImageRegion"),
)
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>'
# XMP specification, part 1, 7.3.2: how a packet begins and ends.
_BEGIN, _END = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n', '\n<?xpacket end="w"?>'
# As an element, and as an attribute, which other programs make of it when they save the file again.
_OURS = re.compile(rb"""AISystemUsed(?:[^>]*>|\s*=\s*["'])Twotone, """)
# minidom writes them into attributes as they are, and every reader takes them for spaces (XML 1.0, 3.3.3). The
# characters in their place stand for nothing, in any text.
_BREAKS = {"\t": "\ufdd0", "\n": "\ufdd1", "\r": "\ufdd2"}
# Far more than texts need: some programs store pictures in it.
_LONGEST = 2**22


# How a film's comment begins that says so.
COLORED_BY = "Colors by Twotone: "


@dataclass(frozen=True)
class Origin:
    """What has colored a picture."""

    program: str
    """Its name and version."""
    model: str
    """What the model is, in a line."""
    weights: str
    """The file of its weights, without a folder, and the SHA-256."""
    redrawn: bool = False
    """Whether the lightness is the network's own, too."""
    settings: str = ""
    """How it was used, where not as it is: "dial at 0.5", "saturation 1.4"."""

    @property
    def line(self) -> str:
        """All of it in a line, for files that hold texts alone, such as films."""
        return f"{COLORED_BY}{self.model}, {self.program}, {self.version}"

    @property
    def version(self) -> str:
        return ", ".join(filter(None, [self.weights, self.settings]))


def marked(xmp: bytes, origin: Origin) -> bytes:
    """Return an XMP packet that has the source's properties and says what has colored the picture.

    Properties of IPTC's standard 2025.1 (DigitalSourceType, AISystemUsed, AISystemVersionUsed) and an event in the
    history of XMP Media Management, without a time: the same picture gives the same bytes.

    Args:
        xmp: the source's packet; empty where it has none.

    Raises:
        ImageError: the source's packet cannot be read.
    """
    try:
        document = _parse(xmp)
        (rdf, *_) = document.getElementsByTagNameNS(_RDF, "RDF")
        descriptions = [node for node in _elements(rdf) if (node.namespaceURI, node.localName) == (_RDF, "Description")]
        before = _remove_replaced(descriptions)
        about = descriptions[0].getAttributeNS(_RDF, "about") if descriptions else ""
        added = _description(document, about, origin)
        event = _event(document, origin, before)
        history = [seq for node in descriptions for seq in _history(node)]
        if history:
            history[0].appendChild(event)
        else:
            added.appendChild(_element(document, _HISTORY, "xmpMM:History")).appendChild(
                _element(document, _RDF, "rdf:Seq")
            ).appendChild(event)
        rdf.appendChild(added)
        return _packet(document)
    except (ExpatError, ValueError, RecursionError) as error:
        raise ImageError(f"unreadable XMP: {error}") from None


def without_regions(xmp: bytes) -> bytes:
    """Return a packet without the regions of faces, which lie on the picture as it was stored, not as it is upright."""
    if not has_regions(xmp):
        return xmp
    try:
        document = _parse(xmp)
        for space, name in _REGIONS:
            for node in document.getElementsByTagNameNS(space, name):
                if node is not document.documentElement:
                    node.parentNode.removeChild(node)  # type: ignore[union-attr]
        return _packet(document)
    except (ExpatError, ValueError, RecursionError):
        return xmp  # which no copy takes over


def has_regions(xmp: bytes) -> bool:
    return any(space.encode() in xmp and name.encode() in xmp for space, name in _REGIONS)


def _packet(document: minidom.Document) -> bytes:
    """Write a document as a packet, with line breaks and tabs in attributes as references."""
    stand_ins = str.maketrans(_BREAKS)
    for node in document.getElementsByTagName("*"):
        for attribute in node.attributes.values():
            if not _BREAKS.keys().isdisjoint(attribute.value):
                attribute.value = attribute.value.translate(stand_ins)
    text = document.documentElement.toxml()  # type: ignore[union-attr]
    for given, stand_in in _BREAKS.items():
        text = text.replace(stand_in, f"&#{ord(given)};")
    return f"{_BEGIN}{text}{_END}".encode()


def colored_here(content: bytes | mmap) -> bool:
    """Whether a picture file says, as `marked` does, that this program has colored it: no format hides the packet."""
    return _OURS.search(content) is not None


def _parse(xmp: bytes) -> minidom.Document:
    if len(xmp) > _LONGEST:
        raise ValueError(f"{len(xmp)} bytes")
    text = xmp.decode("utf-8-sig").strip("\0 \t\r\n") or _EMPTY
    # XMP has none, and entities declared there may grow without bounds.
    if "<!DOCTYPE" in text:
        raise ValueError("it has a document type")
    return minidom.parseString(text)


def _elements(node: minidom.Element) -> list[minidom.Element]:
    return [child for child in node.childNodes if isinstance(child, minidom.Element)]


def _remove_replaced(descriptions: list[minidom.Element]) -> str:
    """Remove what is stated anew or no longer true; returns the digital source type that was stated before."""
    before = ""
    for node in descriptions:
        for attribute in [one for one in node.attributes.values() if one.namespaceURI in _GONE]:
            node.removeAttributeNode(attribute)
        for child in [one for one in _elements(node) if one.namespaceURI in _GONE]:
            node.removeChild(child)
        for namespace, name in _REPLACED:
            if node.hasAttributeNS(namespace, name):
                value = node.getAttributeNS(namespace, name)
                node.removeAttributeNS(namespace, name)
                before = value if (namespace, name) == _SOURCE_TYPE else before
            for child in _elements(node):
                if (child.namespaceURI, child.localName) == (namespace, name):
                    texts = [part.data for part in child.childNodes if isinstance(part, minidom.Text)]
                    value = "".join(texts).strip() or child.getAttributeNS(_RDF, "resource")
                    node.removeChild(child)
                    before = value if (namespace, name) == _SOURCE_TYPE else before
    return before


def _history(description: minidom.Element) -> list[minidom.Element]:
    """Return the list of events, where there is one."""
    found = [node for node in _elements(description) if (node.namespaceURI, node.localName) == (_HISTORY, "History")]
    return [seq for node in found for seq in _elements(node) if (seq.namespaceURI, seq.localName) == (_RDF, "Seq")]


def _description(document: minidom.Document, about: str, origin: Origin) -> minidom.Element:
    node = _element(document, _RDF, "rdf:Description")
    # XMP specification, part 1, 7.4: the same in all descriptions of a packet.
    node.setAttributeNS(_RDF, "rdf:about", about)
    for name, text in (
        ("DigitalSourceType", _REDRAWN if origin.redrawn else _ALTERED),
        ("AISystemUsed", f"Twotone, {origin.model}"),
        ("AISystemVersionUsed", f"{origin.program}, {origin.version}"),
    ):
        child = node.appendChild(_element(document, _IPTC, f"Iptc4xmpExt:{name}"))
        child.appendChild(document.createTextNode(text))
    return node


def _event(document: minidom.Document, origin: Origin, before: str) -> minidom.Element:
    node = _element(document, _RDF, "rdf:li")
    node.setAttributeNS(_RDF, "rdf:parseType", "Resource")
    earlier = f"; digital source type before: {before}" if before else ""
    parameters = f"colored by a network, whose colors are a guess; model {origin.model}; {origin.version}{earlier}"
    for name, text in (("action", "edited"), ("softwareAgent", origin.program), ("parameters", parameters)):
        child = node.appendChild(_element(document, _EVENT, f"stEvt:{name}"))
        child.appendChild(document.createTextNode(text))
    return node


def _element(document: minidom.Document, namespace: str, name: str) -> minidom.Element:
    """With its namespace declared on it: the source's packet may have other prefixes."""
    node = document.createElementNS(namespace, name)
    node.setAttribute(f"xmlns:{name.partition(':')[0]}", namespace)
    return node
