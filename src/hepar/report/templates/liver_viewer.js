"use strict";
// Three planes of the preview, as a radiologist sees them: patient right on the left of axial and coronal pictures,
// anterior on the left of sagittal ones, superior up. Array order of the preview: x to the patient's left, y to
// posterior, z to superior.
(() => {
  const facts = JSON.parse(document.getElementById("preview").textContent);
  const [nx, ny, nz] = facts.size;
  const [mmX, mmY, mmZ] = facts.mm;
  const grey = new Uint8Array(nx * ny * nz);
  const marks = new Uint8Array(nx * ny * nz);
  const at = { x: facts.start[0], y: facts.start[1], z: facts.start[2] };
  const look = { low: -160, high: 240, fill: 0.12, shown: true };
  const COLOURS = [[0, 0, 0], [60, 220, 110], [255, 70, 60]];
  const OUTLINE = 0.85;
  const flip = (v, n) => n - 1 - v;
  // across and down: how a picture's pixel (i, j) becomes a voxel; free: the axis that one scrolls along.
  const PLANES = {
    axial: { w: nx, h: ny, mmW: mmX, mmH: mmY, free: "z", n: nz, letters: "RLAP",
      voxel: (i, j) => [i, j, at.z], set: (i, j) => { at.x = i; at.y = j; }, cross: () => [at.x, at.y] },
    coronal: { w: nx, h: nz, mmW: mmX, mmH: mmZ, free: "y", n: ny, letters: "RLSI",
      voxel: (i, j) => [i, at.y, flip(j, nz)], set: (i, j) => { at.x = i; at.z = flip(j, nz); },
      cross: () => [at.x, flip(at.z, nz)] },
    sagittal: { w: ny, h: nz, mmW: mmY, mmH: mmZ, free: "x", n: nx, letters: "APSI",
      voxel: (i, j) => [at.x, i, flip(j, nz)], set: (i, j) => { at.y = i; at.z = flip(j, nz); },
      cross: () => [at.y, flip(at.z, nz)] },
  };

  // A pixel of a label beside one of another: drawn almost solid, so that tissue inside stays visible.
  function edge(plane, i, j, mark) {
    for (const [di, dj] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      const a = i + di, b = j + dj;
      if (a < 0 || b < 0 || a >= plane.w || b >= plane.h) continue;
      const [x, y, z] = plane.voxel(a, b);
      if (marks[(z * ny + y) * nx + x] < mark) return true;
    }
    return false;
  }

  async function fill(urls, target, decode) {
    const [tileW, tileH] = facts.tile;
    for (let sheet = 0; sheet < urls.length; sheet++) {
      const image = new Image();
      image.src = urls[sheet];
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.width = image.width;
      canvas.height = image.height;
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0);
      for (let k = 0; k < facts.tiles && sheet * facts.tiles + k < nz; k++) {
        const left = (k % facts.columns) * tileW, top = Math.floor(k / facts.columns) * tileH;
        const rgba = pen.getImageData(left, top, nx, ny).data;
        const start = (sheet * facts.tiles + k) * nx * ny;
        for (let p = 0; p < nx * ny; p++) target[start + p] = decode(rgba[4 * p]);
      }
    }
  }

  function draw(name) {
    const plane = PLANES[name];
    const canvas = document.getElementById(`view-${name}`);
    const small = document.createElement("canvas"), over = document.createElement("canvas");
    for (const one of [small, over]) { one.width = plane.w; one.height = plane.h; }
    const pixels = new ImageData(plane.w, plane.h), paint = new ImageData(plane.w, plane.h);
    const step = (facts.hu[1] - facts.hu[0]) / 255;
    for (let j = 0, p = 0; j < plane.h; j++) {
      for (let i = 0; i < plane.w; i++, p += 4) {
        const [x, y, z] = plane.voxel(i, j);
        const index = (z * ny + y) * nx + x;
        const hu = facts.hu[0] + grey[index] * step;
        pixels.data[p] = pixels.data[p + 1] = pixels.data[p + 2] = 255 * (hu - look.low) / (look.high - look.low);
        pixels.data[p + 3] = 255;
        if (marks[index] && look.shown) {
          const colour = COLOURS[marks[index]];
          paint.data[p] = colour[0]; paint.data[p + 1] = colour[1]; paint.data[p + 2] = colour[2];
          paint.data[p + 3] = 255 * (edge(plane, i, j, marks[index]) ? OUTLINE : look.fill);
        }
      }
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    over.getContext("2d").putImageData(paint, 0, 0);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    const place = fit(plane, canvas);
    pen.imageSmoothingQuality = "high";
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, place.x, place.y, place.w, place.h);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(over, place.x, place.y, place.w, place.h);
    const [ci, cj] = plane.cross();
    pen.strokeStyle = "rgba(120, 190, 255, .55)";
    pen.lineWidth = 1;
    pen.beginPath();
    const x = place.x + (ci + 0.5) * place.w / plane.w, y = place.y + (cj + 0.5) * place.h / plane.h;
    pen.moveTo(x, place.y); pen.lineTo(x, place.y + place.h);
    pen.moveTo(place.x, y); pen.lineTo(place.x + place.w, y);
    pen.stroke();
    letters(pen, canvas, plane, name);
  }

  function letters(pen, canvas, plane, name) {
    const [left, right, top, bottom] = plane.letters;
    const write = (text, x, y, align, base) => {
      pen.textAlign = align;
      pen.textBaseline = base;
      pen.lineWidth = 3;
      pen.strokeStyle = "#000";
      pen.strokeText(text, x, y);
      pen.fillStyle = "#f0f0f0";
      pen.fillText(text, x, y);
    };
    pen.font = "600 15px system-ui, sans-serif";
    write(left, 6, canvas.height / 2, "left", "middle");
    write(right, canvas.width - 6, canvas.height / 2, "right", "middle");
    write(top, canvas.width / 2, 5, "center", "top");
    write(bottom, canvas.width / 2, canvas.height - 5, "center", "bottom");
    pen.font = "12px system-ui, sans-serif";
    write(`${name} ${number(plane)}`, 6, 5, "left", "top");
  }

  function number(plane) {
    if (plane.free !== "z") return `${at[plane.free] + 1}/${plane.n}`;
    const first = at.z * facts.factor + 1;
    const last = Math.min(first + facts.factor - 1, facts.slices);
    return first === last ? `${first}/${facts.slices}` : `${first}\u2013${last}/${facts.slices}`;
  }

  function fit(plane, canvas) {
    const scale = Math.min(canvas.width / (plane.w * plane.mmW), canvas.height / (plane.h * plane.mmH));
    const w = plane.w * plane.mmW * scale, h = plane.h * plane.mmH * scale;
    return { x: (canvas.width - w) / 2, y: (canvas.height - h) / 2, w, h };
  }

  const drawAll = () => { for (const name of Object.keys(PLANES)) draw(name); };
  const clamp = (v, n) => Math.min(Math.max(Math.round(v), 0), n - 1);

  function point(name, event) {
    const canvas = document.getElementById(`view-${name}`), plane = PLANES[name];
    const box = canvas.getBoundingClientRect(), place = fit(plane, canvas);
    const x = (event.clientX - box.left) * canvas.width / box.width;
    const y = (event.clientY - box.top) * canvas.height / box.height;
    plane.set(clamp((x - place.x) * plane.w / place.w - 0.5, plane.w),
      clamp((y - place.y) * plane.h / place.h - 0.5, plane.h));
    drawAll();
  }

  function scroll(name, by) {
    const plane = PLANES[name];
    at[plane.free] = clamp(at[plane.free] + by, plane.n);
    drawAll();
  }

  function listen(name) {
    const canvas = document.getElementById(`view-${name}`);
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(name, event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) point(name, event); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      scroll(name, event.deltaY > 0 ? -1 : 1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowRight: 1, PageUp: 5, ArrowDown: -1, ArrowLeft: -1, PageDown: -5 }[event.key];
      if (by) { event.preventDefault(); scroll(name, by); }
    });
  }

  function controls() {
    const window_ = document.getElementById("view-window");
    window_.addEventListener("change", () => {
      [look.low, look.high] = window_.value.split(",").map(Number);
      drawAll();
    });
    document.getElementById("view-fill").addEventListener("input", (event) => {
      look.fill = event.target.value / 100;
      drawAll();
    });
    document.getElementById("view-shown").addEventListener("change", (event) => {
      look.shown = event.target.checked;
      drawAll();
    });
    for (const button of document.querySelectorAll("button[data-voxel]")) {
      button.addEventListener("click", () => {
        [at.x, at.y, at.z] = button.dataset.voxel.split(",").map(Number);
        drawAll();
        document.getElementById("viewer").scrollIntoView({ block: "nearest" });
      });
    }
  }

  (async () => {
    await fill(facts.grey, grey, (v) => v);
    await fill(facts.labels, marks, (v) => Math.round(v / facts.labelStep));
    Object.keys(PLANES).forEach(listen);
    controls();
    drawAll();
    document.getElementById("viewer").dataset.ready = "yes";
  })();
})();
