"""Draws the two images of ultralytics/assets, on which prediction without a source runs.

    python docs/development/make_assets.py

The names and sizes are those of the images of 8.3.0, since scripts use their paths; the images are our own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "ultralytics" / "assets"
QUALITY = 55
SKIN, HAIR = (150, 180, 225), (40, 50, 70)
Image = np.ndarray
Color = tuple[int, int, int]


def background(height: int, width: int, horizon: int, top: Color, ground: Color) -> Image:
    """A sky that becomes lighter towards the horizon, over plain ground."""
    image = np.empty((height, width, 3), np.uint8)
    share = np.linspace(0, 0.5, horizon)[:, None, None]
    image[:horizon] = np.array(top) * (1 - share) + 255 * share
    image[horizon:] = ground
    return image


def draw_person(image: Image, x: int, y: int, height: int, clothes: Color) -> None:
    """A standing person, feet at (x, y)."""
    unit = height / 8
    head = (x, round(y - 7.4 * unit))
    for side in (-1, 1):
        foot = (round(x + side * 0.5 * unit), y)
        cv2.line(image, (x, round(y - 4 * unit)), foot, (70, 50, 40), round(0.8 * unit), cv2.LINE_AA)
        hand = (round(x + side * 1.5 * unit), round(y - 3.8 * unit))
        cv2.line(image, (round(x + side * 0.8 * unit), round(y - 6.2 * unit)), hand, clothes, round(0.6 * unit))
        cv2.circle(image, hand, round(0.3 * unit), SKIN, -1, cv2.LINE_AA)
    body = (round(x - 0.95 * unit), round(y - 6.5 * unit)), (round(x + 0.95 * unit), round(y - 3.7 * unit))
    cv2.rectangle(image, *body, clothes, -1)
    cv2.circle(image, (head[0], round(head[1] - 0.1 * unit)), round(0.68 * unit), HAIR, -1, cv2.LINE_AA)
    cv2.ellipse(image, head, (round(0.55 * unit), round(0.65 * unit)), 0, 0, 360, SKIN, -1, cv2.LINE_AA)


def draw_bus(image: Image, left: int, top: int, right: int, bottom: int, color: Color) -> None:
    """A bus from the side."""
    width, height = right - left, bottom - top
    cv2.rectangle(image, (left, top), (right, bottom), color, -1)
    cv2.rectangle(image, (left, bottom - height // 8), (right, bottom), (60, 60, 60), -1)
    pane = width // 7
    for i in range(6):
        x = left + pane // 3 + i * (pane + pane // 8)
        low = top + height // 2 if i < 5 else bottom - height // 8
        cv2.rectangle(image, (x, top + height // 8), (x + pane - pane // 8, low), (190, 170, 120), -1)
    for x in (left + width // 5, right - width // 4):
        cv2.circle(image, (x, bottom), height // 6, (30, 30, 30), -1, cv2.LINE_AA)
        cv2.circle(image, (x, bottom), height // 12, (170, 170, 170), -1, cv2.LINE_AA)


def street() -> Image:
    """A bus and three persons, 1080 x 810."""
    image = background(1080, 810, 620, (220, 170, 110), (120, 120, 120))
    for x, width, height in ((0, 210, 430), (230, 180, 330), (430, 210, 480), (660, 150, 380)):
        cv2.rectangle(image, (x, 640 - height), (x + width, 640), (130 + x // 20, 150, 165), -1)
    draw_bus(image, 40, 360, 780, 720, (190, 90, 40))
    draw_person(image, 130, 960, 500, (60, 140, 60))
    draw_person(image, 300, 900, 440, (150, 60, 130))
    draw_person(image, 690, 980, 520, (50, 60, 190))
    return image


def field() -> Image:
    """Two persons and a ball on grass, 720 x 1280."""
    image = background(720, 1280, 300, (230, 190, 130), (80, 150, 90))
    cv2.line(image, (0, 430), (1280, 560), (235, 245, 235), 10, cv2.LINE_AA)
    draw_person(image, 420, 690, 600, (40, 40, 200))
    draw_person(image, 860, 670, 560, (200, 200, 200))
    cv2.circle(image, (640, 640), 44, (245, 245, 245), -1, cv2.LINE_AA)
    cv2.circle(image, (640, 640), 16, (50, 50, 50), -1, cv2.LINE_AA)
    return image


def main() -> None:
    """Write both files."""
    FOLDER.mkdir(exist_ok=True)
    for name, image in (("bus.jpg", street()), ("zidane.jpg", field())):
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        (FOLDER / name).write_bytes(encoded.tobytes())


if __name__ == "__main__":
    main()
