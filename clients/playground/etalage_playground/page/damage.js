// What happens to packshots on their way from a supplier, done to one in the browser.

import { Refused } from "./calls.js";

const SIDE = 384;
const MARGIN = 42;

const DAMAGES = {
  none: () => {},
  blur: (pen, packshot) => {
    pen.filter = "blur(2px)";
    put(pen, packshot);
  },
  noise: (pen) => shade(pen, (value) => value + 52 * (Math.random() + Math.random() - 1)),
  dark: (pen) => shade(pen, (value, channel) => 0.55 * value * [1, 0.93, 0.76][channel]),
  blocks: () => {},
};

export async function damage(product, kind) {
  const packshot = await fetchPackshot(product);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const pen = canvas.getContext("2d");
  put(pen, packshot);
  DAMAGES[kind](pen, packshot);
  const type = kind === "blocks" ? "image/jpeg" : "image/png";
  return canvas.convertToBlob({ type, quality: 0.1 });
}

async function fetchPackshot(product) {
  const reply = await fetch(`/api/packshot?side=${SIDE}&product=${encodeURIComponent(product)}`);
  if (!reply.ok) throw new Refused(await reply.json());
  return createImageBitmap(await reply.blob());
}

function put(pen, packshot) {
  const room = SIDE - 2 * MARGIN;
  const scale = Math.min(room / packshot.width, room / packshot.height);
  const [width, height] = [packshot.width * scale, packshot.height * scale];
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, SIDE, SIDE);
  pen.drawImage(packshot, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
}

function shade(pen, change) {
  const pixels = pen.getImageData(0, 0, SIDE, SIDE);
  for (let place = 0; place < pixels.data.length; place++) {
    if (place % 4 < 3) pixels.data[place] = change(pixels.data[place], place % 4);
  }
  pen.putImageData(pixels, 0, 0);
}
