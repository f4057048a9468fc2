// A 3-D view: the button puts a scene of plotly in the picture's place. Nothing is loaded before it is pressed.
(() => {
  const PLOTLY = new URL("../vendor/plotly/plotly-gl3d.min.js", document.currentScript.src).href;
  const KEYS = "Drag to turn, wheel to zoom; or arrow keys, + and −, Home. Escape brings the picture back.";
  let loading = null;

  const loadPlotly = () => (loading ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: PLOTLY, onload: () => done(window.Plotly) });
    script.onerror = () => { loading = null; failed(new Error("plotly did not load")); };
    document.head.append(script);
  }));

  // Base64 of little-endian whole numbers, 16 or 32 bits each; works on a machine of either order.
  const numbers = (text, bits) => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer), size = bits / 8;
    return Array.from({ length: bytes.length / size }, (_, at) =>
      bits === 16 ? view.getUint16(2 * at, true) : view.getUint32(4 * at, true));
  };
  const every3rd = (list, first) => Float64Array.from({ length: list.length / 3 }, (_, at) => list[3 * at + first]);

  const trace = (part) => {
    const places = numbers(part.vertices, 16), faces = numbers(part.faces, part.bits);
    const [x, y, z] = [0, 1, 2].map(axis => every3rd(places, axis).map(n => part.low[axis] + n * part.step[axis]));
    const [i, j, k] = [0, 1, 2].map(corner => every3rd(faces, corner));
    const lighting = { ambient: 0.5, diffuse: 0.75, specular: 0.1, roughness: 0.7, fresnel: 0.05 };
    const lightposition = { x: -1e5, y: 1e5, z: 1e5 };
    return { type: "mesh3d", x, y, z, i, j, k, color: part.colour, opacity: part.opacity, name: part.name,
      hoverinfo: "name", hoverlabel: { namelength: -1 }, lighting, lightposition };
  };

  // The page's ink, and lines that do not outshine the parts; opaque, for glass on a transparent ground glares.
  const theme = (figure) => {
    const ink = getComputedStyle(figure).color, [red, green, blue] = ink.match(/[\d.]+/g).map(Number);
    return { ink, line: red + green + blue > 384 ? "#50565e" : "#d4d4d4" };
  };
  const inked = (figure) => {
    const { ink, line } = theme(figure);
    const change = { "font.color": ink };
    for (const axis of ["xaxis", "yaxis", "zaxis"]) {
      change[`scene.${axis}.gridcolor`] = line;
      change[`scene.${axis}.linecolor`] = change[`scene.${axis}.color`] = ink;
    }
    return change;
  };

  const layout = (data, figure) => {
    const [low, high] = data.box, extent = low.map((least, axis) => high[axis] - least);
    const longest = Math.max(...extent), ratio = extent.map(length => Math.max(length / longest, 0.05));
    const { ink, line } = theme(figure);
    const axis = (name, at) => ({ title: { text: `${name} (${data.unit})` }, showbackground: false, zeroline: false,
      showspikes: false, gridcolor: line, linecolor: ink, color: ink, nticks: Math.round(2 + 6 * ratio[at]),
      range: [low[at] - 0.02 * longest, high[at] + 0.02 * longest] });
    const distance = (figure.clientWidth < 500 ? 1.65 : 1.35) * Math.hypot(...ratio); // box and labels in sight
    const [x, y, z] = data.eye.map(part => distance * part);
    return { margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12 },
      showlegend: false, scene: { bgcolor: "rgba(0,0,0,0)", dragmode: "turntable", aspectmode: "manual",
        aspectratio: { x: ratio[0], y: ratio[1], z: ratio[2] },
        camera: { eye: { x, y, z }, center: { x: 0, y: 0, z: -0.05 } },
        xaxis: axis("x", 0), yaxis: axis("y", 1), zaxis: axis("z", 2) } };
  };

  // Azimuth and elevation in degrees, and a factor of the distance, about the camera's centre; never over the pole.
  const turned = (camera, azimuth, elevation, nearer) => {
    const centre = camera.center ?? { x: 0, y: 0, z: 0 }, degree = Math.PI / 180;
    const [x, y, z] = ["x", "y", "z"].map(axis => camera.eye[axis] - centre[axis]);
    const distance = Math.hypot(x, y, z) * nearer, round = Math.atan2(y, x) + azimuth * degree;
    const above = Math.asin(z / Math.hypot(x, y, z)) + elevation * degree;
    const rise = Math.min(Math.max(above, -85 * degree), 85 * degree);
    return { ...camera, eye: { x: centre.x + distance * Math.cos(rise) * Math.cos(round),
      y: centre.y + distance * Math.cos(rise) * Math.sin(round), z: centre.z + distance * Math.sin(rise) } };
  };
  const MOVES = { ArrowLeft: [10, 0, 1], ArrowRight: [-10, 0, 1], ArrowUp: [0, -10, 1], ArrowDown: [0, 10, 1],
    "+": [0, 0, 0.87], "=": [0, 0, 0.87], "-": [0, 0, 1.15], "−": [0, 0, 1.15] };

  const element = (tag, settings, ...children) => {
    const made = Object.assign(document.createElement(tag), settings);
    made.append(...children);
    return made;
  };

  const equip = (figure) => {
    const data = JSON.parse(figure.querySelector(".lowdose-solid-data").textContent);
    const still = figure.querySelector(".lowdose-solid-still");
    const button = element("button", { type: "button", className: "lowdose-solid-button" });
    const said = element("span", { className: "lowdose-solid-said" });
    said.setAttribute("role", "status");
    still.after(element("div", { className: "lowdose-solid-bar" }, button, said));
    let place = null, watching = null;

    const close = () => {
      watching?.disconnect();
      if (place) { window.Plotly?.purge(place.firstChild); place.remove(); }
      place = watching = null;
      figure.classList.remove("turning");
      button.textContent = "Turn it in 3-D";
      said.textContent = "";
    };

    const open = async () => {
      said.textContent = "Loading …";
      button.disabled = true;
      try {
        const probe = document.createElement("canvas").getContext("webgl");
        if (!probe) throw new Error("this browser draws no WebGL");
        probe.getExtension("WEBGL_lose_context")?.loseContext();
        const Plotly = await loadPlotly();
        const scene = element("div", { className: "lowdose-solid-scene", tabIndex: 0 });
        scene.setAttribute("role", "application");
        scene.setAttribute("aria-label", `3-D view. ${KEYS} ${still.alt}`);
        const parts = element("div", { className: "lowdose-solid-parts" });
        parts.setAttribute("role", "group");
        parts.setAttribute("aria-label", "Parts shown");
        data.parts.forEach((part, number) => {
          const box = element("input", { type: "checkbox", checked: true });
          box.onchange = () => Plotly.restyle(scene, { visible: box.checked }, [number]);
          const swatch = element("span", { className: "lowdose-solid-swatch" });
          swatch.style.background = part.colour;
          parts.append(element("label", {}, box, swatch, part.name));
        });
        place = element("div", { className: "lowdose-solid-place" }, scene, ...(data.parts.length > 1 ? [parts] : []));
        scene.style.aspectRatio = `${still.width} / ${still.height}`;
        figure.classList.add("turning");
        still.before(place);
        const start = layout(data, figure), first = structuredClone(start.scene.camera);
        await Plotly.newPlot(scene, data.parts.map(trace), start,
          { displayModeBar: false, responsive: true, scrollZoom: true });
        scene.addEventListener("keydown", (event) => {
          if (event.ctrlKey || event.altKey || event.metaKey) return;
          const move = MOVES[event.key];
          if (!move && event.key !== "Home") return;
          event.preventDefault();
          const camera = move ? turned(scene.layout.scene.camera, ...move) : structuredClone(first);
          Plotly.relayout(scene, { "scene.camera": camera });
        });
        watching = new MutationObserver(() => Plotly.relayout(scene, inked(figure)));
        watching.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
        button.textContent = "Back to the picture";
        said.textContent = KEYS;
        scene.focus({ preventScroll: true });
      } catch (error) {
        close();
        said.textContent = `The 3-D view cannot be shown: ${error.message}.`;
      }
      button.disabled = false;
    };

    figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && place) { close(); button.focus(); }
    });
    button.onclick = () => (place ? close() : open());
    close();
  };

  const start = () => document.querySelectorAll(".lowdose-solid:not(:has(.lowdose-solid-bar))").forEach(equip);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
