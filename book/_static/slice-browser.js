// A slice browser: volumes side by side, moved, enlarged and read together. Its pictures stay for print.
(() => {
  const KEYS = "Arrow keys move the cross-hair, with Shift by ten; Page Up and Page Down change the slice; " +
    "+ and − zoom; Home shows all.";
  const HINT = "Point at a panel to read it; click to keep the point. Zoom with the buttons, with Ctrl and the wheel, or " +
    `with two fingers; then drag to pan. Once the panels have the focus: ${KEYS} Slices, rows and columns count from 0, ` +
    "as in arrays. Bars show how often each grey occurs in what is in sight, each panel's to its own peak.";
  const ALTERED = " This browser alters what scripts read from pictures: the values here may be off.";
  const BINS = 64, GREYS = 256, NEAREST = 8; // pixels across, at least, in sight
  const between = (value, least, most) => Math.min(Math.max(value, least), most);

  const element = (tag, settings, ...children) => {
    const made = Object.assign(document.createElement(tag), settings);
    made.append(...children);
    return made;
  };
  const drawn = (tag, settings, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // A picture's pixels: as they are drawn, and as grey values row by row.
  const decoded = async (uri, rows, columns) => {
    const image = Object.assign(new Image(), { src: uri });
    await image.decode();
    const canvas = element("canvas", { width: columns, height: rows });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const colours = context.getImageData(0, 0, columns, rows).data;
    return { canvas, greys: Uint8Array.from({ length: rows * columns }, (_, at) => colours[4 * at]) };
  };

  // The largest of 1, 2 and 5 times a power of ten that is not above a length.
  const nice = (length) => {
    const power = 10 ** Math.floor(Math.log10(length) + 1e-9);
    return power * [5, 2, 1].find(step => step * power <= length * (1 + 1e-9));
  };
  const inMetres = (length) => {
    const [size, name] = [[1, "m"], [1e-3, "mm"], [1e-6, "µm"]].find(([size]) => length > 0.999 * size) ?? [1e-9, "nm"];
    return `${+(length / size).toPrecision(3)} ${name}`;
  };
  // So many digits that no two steps look alike.
  const written = (step) => {
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    return value => (digits > 6 ? value.toExponential(3) : value.toFixed(digits)).replaceAll("-", "−");
  };

  const equip = async (figure) => {
    const data = JSON.parse(figure.querySelector(".lowdose-slices-data").textContent);
    const [slices, rows, columns] = data.shape, [low, high] = data.limits;
    const stills = [...figure.querySelectorAll("img")];
    const volumes = await Promise.all(data.panels.map((panel, number) => Promise.all(
      panel.slices.map(uri => decoded(uri ?? stills[number].src, rows, columns)))));

    const step = (high - low) / (GREYS - 1), text = written(step), unit = data.unit ? ` ${data.unit}` : "";
    const most = Math.max(1, Math.min(rows, columns) / NEAREST);
    let slice = slices >> 1, kept = [rows >> 1, columns >> 1], over = null, view = { zoom: 1, top: 0, left: 0 };

    // What is added to the page.
    const panels = figure.querySelector(".lowdose-slices-panels");
    panels.tabIndex = 0;
    panels.setAttribute("role", "application");
    panels.setAttribute("aria-label", `Slices of ${data.panels.map(panel => panel.name).join(", ")}. ${KEYS}`);
    const place = element("span", { className: "lowdose-slices-place" });
    const said = element("div", { className: "lowdose-slices-said" }, place);
    said.setAttribute("role", "status");
    const lines = drawn("svg", { preserveAspectRatio: "none", role: "img" });
    const parts = data.panels.map((panel, number) => {
      const canvas = element("canvas", { className: "lowdose-slices-canvas", ariaHidden: "true" });
      canvas.style.aspectRatio = `${columns} / ${rows}`;
      const bars = drawn("path", { fill: panel.colour });
      const histogram = drawn("svg", { preserveAspectRatio: "none", viewBox: `0 0 ${BINS} 1`, role: "img",
        "aria-label": `Histogram of ${panel.name} in sight` }, bars);
      stills[number].after(element("div", { className: "lowdose-slices-frame" }, canvas), element("div",
        { className: "lowdose-slices-histogram" }, histogram, element("div", { className: "lowdose-slices-ends" },
          element("span", {}, text(low)), element("span", {}, text(high)))));
      const swatch = element("span", { className: "lowdose-slices-swatch" });
      swatch.style.background = panel.colour;
      const value = element("span", { className: "lowdose-slices-value" });
      said.append(element("span", { className: "lowdose-slices-item" }, swatch, `${panel.name} `, value));
      const line = drawn("polyline", { fill: "none", stroke: panel.colour, "vector-effect": "non-scaling-stroke" });
      return { ...panel, canvas, bars, value, line, volume: volumes[number] };
    });
    const bar = element("div", { className: "lowdose-slices-scale" });
    if (data.pixel) panels.querySelector(".lowdose-slices-frame").append(bar);

    const range = element("input", { type: "range", min: 0, max: slices - 1, step: 1, value: slice });
    const number = element("span", { className: "lowdose-slices-number" });
    const button = (name, act) => element("button", { type: "button", onclick: act }, name);
    const group = (...inside) => element("div", { className: "lowdose-slices-group" }, ...inside);
    const tools = element("div", { className: "lowdose-slices-tools" },
      ...(slices > 1 ? [group(element("label", {}, "Slice ", range), number)] : []), group(
      button("Zoom in", () => zoomed(1.5, centre())), button("Zoom out", () => zoomed(1 / 1.5, centre())),
      button("Show all", () => shifted(1, 0, 0))));

    const title = element("div", { className: "lowdose-slices-title" });
    const here = drawn("line", { y1: 0, y2: GREYS, class: "lowdose-slices-here", "vector-effect": "non-scaling-stroke" });
    const grid = element("div", { className: "lowdose-slices-grid" });
    const apart = nice((high - low) / 3) || step;
    for (let mark = Math.ceil(low / apart - 1e-9); mark * apart <= high + 1e-9 * apart; mark++) {
      const label = element("span", {}, written(apart)(mark * apart));
      label.style.top = `${100 * (high - mark * apart) / (high - low)}%`;
      grid.append(label);
    }
    const ends = [element("span"), element("span")];
    lines.append(here, ...parts.map(part => part.line));
    panels.after(tools, said, element("div", { className: "lowdose-slices-profile" }, title,
      element("div", { className: "lowdose-slices-plot" }, grid, lines),
      element("div", { className: "lowdose-slices-ends" }, ...ends)));
    const total = volume => volume.reduce((sum, { greys }) => greys.reduce((part, grey) => part + grey, sum), 0);
    const altered = parts.some(part => total(part.volume) !== part.total) ? ALTERED : "";
    figure.querySelector("figcaption").append(altered, element("details", {}, element("summary", {}, "How to use it"), HINT));

    // What is drawn, once a frame.
    const draw = () => {
      const [row, column] = over ?? kept, height = rows / view.zoom, width = columns / view.zoom;
      const [first, last] = [Math.floor(view.left), Math.ceil(view.left + width - 1e-6)];
      const [upper, lower] = [Math.floor(view.top), Math.ceil(view.top + height - 1e-6)];
      for (const part of parts) {
        const { canvas: image, greys } = part.volume[slice], { canvas } = part;
        const across = Math.round(canvas.clientWidth * devicePixelRatio), down = Math.round(across * rows / columns);
        if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
        const context = canvas.getContext("2d"), scale = across / width;
        context.imageSmoothingEnabled = scale < 1; // enlarged pixels stay as they are
        context.drawImage(image, view.left, view.top, width, height, 0, 0, across, down);
        const [x, y] = [column - view.left, row - view.top].map(place => Math.floor((place + 0.5) * scale) + 0.5);
        const gap = Math.max(scale / 2, 6 * devicePixelRatio), thin = Math.round(devicePixelRatio);
        for (const [ink, thick] of [["#0006", 3], ["#ff9d2e", 1]]) { // seen on black and on white
          context.strokeStyle = ink;
          context.lineWidth = thick * thin;
          context.beginPath();
          for (const [x1, y1, x2, y2] of [[0, y, x - gap, y], [x + gap, y, across, y], [x, 0, x, y - gap], [x, y + gap, x, down]]) {
            if (x2 > x1 || y2 > y1) { context.moveTo(x1, y1); context.lineTo(x2, y2); }
          }
          context.stroke();
        }
        const counts = new Uint32Array(BINS);
        for (let line = upper; line < lower; line++) {
          for (let at = line * columns + first; at < line * columns + last; at++) counts[greys[at] * BINS / GREYS | 0]++;
        }
        const peak = Math.max(...counts);
        part.bars.setAttribute("d", `M0 1${[...counts].map((count, bin) => `V${1 - count / peak}H${bin + 1}`).join("")}V1Z`);
        part.line.setAttribute("points", Array.from({ length: last - first }, (_, at) =>
          `${first + at + 0.5},${GREYS - 1 - greys[row * columns + first + at]}`).join(" "));
        const grey = greys[row * columns + column];
        const beyond = grey === 0 && part.clipped[0] ? "≤ " : grey === GREYS - 1 && part.clipped[1] ? "≥ " : "";
        part.value.textContent = beyond + text(low + grey * step) + unit;
      }
      lines.setAttribute("viewBox", `${view.left} 0 ${width} ${GREYS - 1}`);
      lines.setAttribute("aria-label", `Profile of each panel along row ${row}`);
      here.setAttribute("x1", column + 0.5);
      here.setAttribute("x2", column + 0.5);
      title.textContent = `Along row ${row}, columns ${first} to ${last - 1}${data.unit ? `, in ${data.unit}` : ""}`;
      ends.forEach((end, at) => { end.textContent = at ? last - 1 : first; });
      place.textContent = `Slice ${slice}, row ${row}, column ${column}`;
      number.textContent = `${slice} (0–${slices - 1})`;
      range.value = slice;
      if (data.pixel) {
        const length = nice(width * data.pixel / 3);
        bar.style.width = `${100 * length / data.pixel / width}%`;
        bar.textContent = inMetres(length);
      }
      panels.classList.toggle("enlarged", view.zoom > 1);
    };
    let asked = false;
    const ask = () => {
      if (!asked) requestAnimationFrame(() => { asked = false; draw(); });
      asked = true;
    };

    // What moves it.
    const shifted = (zoom, top, left) => {
      view = { zoom, top: between(top, 0, rows - rows / zoom), left: between(left, 0, columns - columns / zoom) };
      ask();
    };
    const zoomed = (factor, [y, x]) => {
      const zoom = between(view.zoom * factor, 1, most), ratio = view.zoom / zoom;
      shifted(zoom, y - (y - view.top) * ratio, x - (x - view.left) * ratio);
      return ratio !== 1;
    };
    // Buttons and keys zoom about the kept point, or about the middle where that is out of sight.
    const centre = () => {
      const size = [rows / view.zoom, columns / view.zoom], start = [view.top, view.left];
      const seen = kept.every((place, axis) => place + 0.5 > start[axis] && place + 0.5 < start[axis] + size[axis]);
      return seen ? kept.map(place => place + 0.5) : start.map((place, axis) => place + size[axis] / 2);
    };
    const turned = (to) => { slice = between(to, 0, slices - 1); ask(); };
    const moved = (down, right) => {
      const [row, column] = kept = [between(kept[0] + down, 0, rows - 1), between(kept[1] + right, 0, columns - 1)];
      const height = rows / view.zoom, width = columns / view.zoom;
      over = null;
      shifted(view.zoom, between(view.top, row + 1 - height, row), between(view.left, column + 1 - width, column));
    };
    range.oninput = () => turned(+range.value);

    const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const ACTS = { PageUp: () => turned(slice + 1), PageDown: () => turned(slice - 1), Home: () => shifted(1, 0, 0) };
    for (const key of "+=") ACTS[key] = () => zoomed(1.5, centre());
    for (const key of "-−_") ACTS[key] = () => zoomed(1 / 1.5, centre());
    panels.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const move = MOVES[event.key], act = ACTS[event.key];
      if (!move && !act) return;
      event.preventDefault();
      said.ariaLive = "polite";
      if (move) moved(...move.map(by => by * (event.shiftKey ? 10 : 1)));
      else act();
    });

    for (const { canvas } of parts) {
      const fingers = new Map();
      let pulled = false;
      const at = ({ clientX, clientY }) => {
        const box = canvas.getBoundingClientRect();
        return [view.top + (clientY - box.top) / box.height * rows / view.zoom,
          view.left + (clientX - box.left) / box.width * columns / view.zoom];
      };
      const pixel = (event) => at(event).map((place, axis) => between(Math.floor(place), 0, [rows, columns][axis] - 1));
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        if (!fingers.size) pulled = false;
        fingers.set(event.pointerId, event);
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        said.ariaLive = "off"; // not a word for each pixel that a mouse passes
        const before = fingers.get(event.pointerId);
        if (!before) { over = pixel(event); ask(); return; }
        if (!pulled && Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY) < 4) return;
        pulled = true;
        over = null;
        fingers.set(event.pointerId, event);
        const other = [...fingers].find(([name]) => name !== event.pointerId)?.[1];
        if (other) {
          const apart = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
          zoomed(apart(event) / Math.max(apart(before), 1), at(other));
        } else if (view.zoom === 1) {
          kept = pixel(event); // there is nothing to pan
          ask();
        } else {
          const [from, to] = [at(before), at(event)];
          shifted(view.zoom, view.top + from[0] - to[0], view.left + from[1] - to[1]);
        }
      });
      const ended = (event) => {
        if (fingers.delete(event.pointerId) && !pulled && event.type === "pointerup") { kept = pixel(event); ask(); }
      };
      canvas.addEventListener("pointerup", ended);
      canvas.addEventListener("pointercancel", ended);
      canvas.addEventListener("pointerleave", () => { over = null; ask(); });
      canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.metaKey && document.activeElement !== panels) return; // it scrolls the page
        const pull = between(event.deltaY * (event.deltaMode ? 20 : 1), -60, 60);
        if (zoomed(Math.exp(-pull / 200), at(event)) || event.ctrlKey) event.preventDefault();
      }, { passive: false });
    }

    figure.classList.add("browsing");
    new ResizeObserver(ask).observe(panels);
    draw();
  };

  const start = () => document.querySelectorAll(".lowdose-slices:not(.browsing)").forEach(equip);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
