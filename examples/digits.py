"""A conversation with a running server: a meter's display is read after a few photographs of it.

The photographs are drawn here: strokes of light on a dark display, aslant, off centre and with noise. Nothing of the kind
was in what the base model was trained on.

    imprint keys create waterworks         # prints a key
    imprint serve                          # in another terminal
    python3 examples/digits.py --key KEY
"""

import base64
import random
import struct
import zlib

from service import connect

SIDE = 32

#: Strokes of each digit, through corners of a field two wide and four high.
STROKES = {
    "0": [(0, 0, 2, 0), (2, 0, 2, 4), (2, 4, 0, 4), (0, 4, 0, 0)],
    "1": [(0, 1, 1, 0), (1, 0, 1, 4)],
    "2": [(0, 0, 2, 0), (2, 0, 2, 2), (2, 2, 0, 4), (0, 4, 2, 4)],
    "3": [(0, 0, 2, 0), (2, 0, 1, 2), (1, 2, 2, 2), (2, 2, 2, 4), (2, 4, 0, 4)],
    "4": [(1, 0, 0, 2), (0, 2, 2, 2), (2, 0, 2, 4)],
    "5": [(2, 0, 0, 0), (0, 0, 0, 2), (0, 2, 2, 2), (2, 2, 2, 4), (2, 4, 0, 4)],
    "6": [(2, 0, 0, 2), (0, 2, 2, 2), (2, 2, 2, 4), (2, 4, 0, 4), (0, 4, 0, 2)],
    "7": [(0, 0, 2, 0), (2, 0, 1, 4)],
    "8": [(0, 0, 2, 0), (2, 0, 2, 4), (2, 4, 0, 4), (0, 4, 0, 0), (0, 2, 2, 2)],
    "9": [(2, 2, 0, 2), (0, 2, 0, 0), (0, 0, 2, 0), (2, 0, 2, 4), (2, 4, 0, 4)],
}


def distance(x, y, stroke):
    """From a point to a stroke."""
    x0, y0, x1, y1 = stroke
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    along = min(1.0, max(0.0, along))
    return ((x - x0 - along * (x1 - x0)) ** 2 + (y - y0 - along * (y1 - y0)) ** 2) ** 0.5


def photograph(digit, rng):
    """A display that shows a digit, as a PNG in base64."""
    scale, slant, thick = rng.uniform(4.0, 5.5), rng.uniform(-0.3, 0.3), rng.uniform(1.0, 2.0)
    left, top = rng.uniform(-2, 2) + SIDE / 2 - scale, rng.uniform(-2, 2) + SIDE / 2 - 2 * scale
    light, glow = [rng.uniform(150, 255) for _ in range(3)], [rng.uniform(0, 90) for _ in range(3)]
    place = lambda x, y: (left + scale * x + slant * scale * (2 - y), top + scale * y)
    strokes = [(*place(x0, y0), *place(x1, y1)) for x0, y0, x1, y1 in STROKES[digit]]
    rows = bytearray()
    for y in range(SIDE):
        rows.append(0)
        for x in range(SIDE):
            near = min(distance(x, y, stroke) for stroke in strokes)
            lit = min(1.0, max(0.0, thick - near + 0.5))
            rows.extend(int(min(255, max(0, on * lit + off * (1 - lit) + rng.gauss(0, 20)))) for on, off in zip(light, glow))
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


def main():
    call, rng = connect(__doc__), random.Random(1)
    body = {"name": "water meter", "base_model": "digits", "settings": {"auto_adapt": True}}
    task = f"/v1/tasks/{call('POST', '/v1/tasks', body)['id']}"
    shown = [(digit, {"image": photograph(digit, rng)}) for digit in STROKES for _ in range(20)]
    taught = 0
    for more in (1, 2, 7):
        photographs = [{"input": {"image": photograph(digit, rng)}, "label": digit} for digit in STROKES for _ in range(more)]
        added = call("POST", f"{task}/support", {"examples": photographs})
        taught += more
        answers = call("POST", f"{task}/predict", {"query": [image for _, image in shown]})["predictions"]
        right = sum(answer["label"] == digit for answer, (digit, _) in zip(answers, shown))
        print(f"{taught:2} of each digit: version {added['adaptation']['version']} reads {right} of {len(shown)} others")
        wrong = [(digit, answer["label"]) for answer, (digit, _) in zip(answers, shown) if answer["label"] != digit]
        if wrong:
            often = max(sorted(set(wrong)), key=wrong.count)
            print(f"   most often {often[0]} is taken for {often[1]}: {wrong.count(often)} times")
    call("DELETE", task)


if __name__ == "__main__":
    main()
