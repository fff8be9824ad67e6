// Lays the monitor's pictures over textual-serve's terminal, each at its own resolution over its cells.
"use strict";

const shown = new Map(); // a picture's number → its <img> and where it lies

function place({ image, region, cells }) {
  const screen = document.querySelector(".xterm-screen");
  if (!screen) return;
  const box = screen.getBoundingClientRect();
  const [x, y, width, height] = region;
  const [columns, rows] = cells;
  image.style.left = `${box.left + (x * box.width) / columns}px`;
  image.style.top = `${box.top + (y * box.height) / rows}px`;
  image.style.width = `${(width * box.width) / columns}px`;
  image.style.height = `${(height * box.height) / rows}px`;
}

function take({ id, png, region, of_cells: cells }) {
  if (png === null) {
    shown.get(id)?.image.remove();
    shown.delete(id);
    return;
  }
  if (!shown.has(id)) {
    const image = new Image();
    image.className = "picture";
    document.body.append(image);
    shown.set(id, { image });
  }
  const picture = Object.assign(shown.get(id), { region, cells });
  picture.image.src = `data:image/png;base64,${png}`;
  place(picture);
}

// Keys work without a click, and the footer names them. Before its first frame the monitor takes no notice of a focus.
const FRAME_BYTES = 1000;
let isFocused = false;

function focusOnce(nBytes) {
  if (isFocused || nBytes < FRAME_BYTES) return;
  isFocused = true;
  document.querySelector(".xterm-helper-textarea")?.focus();
}

// textual.js opens the socket and ignores messages of types that it does not know.
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") {
        focusOnce(data.byteLength);
        return;
      }
      const [type, message] = JSON.parse(data);
      if (type === "braind_picture") take(message);
    });
    this.addEventListener("close", () => {
      for (const { image } of shown.values()) image.remove();
      shown.clear();
    });
  }
};

// textual.js asks for downloads at the root; they lie below the token.
const open = window.open.bind(window);
window.open = (url, ...others) =>
  open(String(url).replace(`${window.location.origin}/download/`, new URL("download/", window.location.href).href), ...others);

window.addEventListener("resize", () => shown.forEach(place));

// The address that the page came by, so that it works through a forwarded port too.
document.addEventListener("DOMContentLoaded", () => {
  const { dataset } = document.getElementById("terminal");
  dataset.sessionWebsocketUrl = new URL("ws", window.location.href).href.replace(/^http/, "ws");
  dataset.fontSize = new URLSearchParams(window.location.search).get("fontsize") ?? dataset.fontSize;
});
