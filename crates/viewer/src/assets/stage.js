"use strict";
// Draws an image with the network's map, and lets a reader move, enlarge and window it.
(() => {
  const GREEN = [0, 158, 96], OPACITY = 0.45, HEAT = 0.65, MARK = [255, 176, 0];
  // Pixels of a map that the network did not look at have this blue.
  const UNSEEN = 255;

  // Dark to light, in equal steps of brightness: where the map is sure, the image is bright.
  const RAMP = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const percent = share => `${(100 * share).toFixed(1)} %`;

  function heat(share) {
    const place = share * (RAMP.length - 1), below = Math.min(Math.floor(place), RAMP.length - 2);
    return RAMP[below].map((low, i) => low + (place - below) * (RAMP[below + 1][i] - low));
  }
  const HEATS = Array.from({ length: 256 }, (_, i) => heat(i / 255));

  // The bytes of a picture, as they are in its file.
  async function pixels(address) {
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  // Pixels inside the marks with a neighbour outside.
  function outline({ data, width, height }) {
    const border = new Uint8Array(width * height);
    const marked = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)] > 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const inside = marked(x - 1, y) && marked(x + 1, y) && marked(x, y - 1) && marked(x, y + 1);
        if (marked(x, y) && !inside) border[y * width + x] = 1;
      }
    }
    return border;
  }

  class Stage {
    constructor(element) {
      this.element = element;
      this.find = selector => element.querySelector(selector);
      this.view = this.find(".view");
      this.canvas = this.find("canvas");
      this.context = this.canvas.getContext("2d");
      this.maps = JSON.parse(element.dataset.maps);
      this.loaded = new Map();
      // The size of a pixel of the image, and the point of the image in the middle of the view.
      this.scale = 1;
      this.fitted = true;
      this.composed = document.createElement("canvas");
    }

    async start() {
      this.say("loading the image");
      try {
        this.image = await pixels(this.element.dataset.image);
      } catch {
        this.say("The image could not be loaded.");
        return;
      }
      const { width, height } = this.image;
      [this.composed.width, this.composed.height] = [width, height];
      this.centre = [width / 2, height / 2];
      this.out = new ImageData(width, height);
      this.canvas.hidden = false;
      this.find(".tools").hidden = false;
      this.say("");
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.view);
      this.resize();
      this.compose();
      this.showMap();
    }

    say(words) {
      this.find(".status").textContent = words;
    }

    value(selector, otherwise) {
      const input = this.find(selector);
      return input ? input.value : otherwise;
    }

    get mode() {
      const chosen = this.find(".modes input:checked");
      return chosen ? chosen.value : "off";
    }

    get certainty() {
      return Number(this.value(".certainty", 1000)) / 1000;
    }

    // Fetches the map that is shown, and draws it.
    async showMap() {
      if (!this.maps.length) return;
      const index = Number(this.value(".map", this.element.dataset.shown));
      const map = this.maps[index] || this.maps[0];
      if (!this.loaded.has(map.address)) {
        this.say("computing the map");
        try {
          this.loaded.set(map.address, await pixels(map.address));
        } catch {
          this.say("The map could not be computed.");
          return;
        }
        this.say("");
      }
      this.map = this.loaded.get(map.address);
      this.compose();
    }

    async showTruth() {
      const box = this.find(".truth");
      if (box.checked && !this.border) {
        try {
          this.border = outline(await pixels(this.element.dataset.mask));
        } catch {
          this.say("The mask could not be loaded.");
        }
      }
      this.compose();
    }

    // The grey or colour of a level, of 256 or 65536, in the window.
    table(levels) {
      const centre = Number(this.value(".level", 500)) / 1000, width = Number(this.value(".width", 1000)) / 1000;
      const invert = this.find(".invert").checked, low = centre - width / 2;
      const table = new Uint8ClampedArray(levels);
      for (let i = 0; i < levels; i++) {
        const share = clamp((i / (levels - 1) - low) / width, 0, 1);
        table[i] = Math.round(255 * (invert ? 1 - share : share));
      }
      return table;
    }

    // Draws image, map and marks at the image's own size.
    compose() {
      const { data } = this.image, out = this.out.data, n = data.length / 4;
      const deep = this.element.dataset.bits === "16", table = this.table(deep ? 65536 : 256);
      const map = this.mode === "off" ? null : this.map && this.map.data;
      const least = Math.round(this.certainty * 65535), certain = this.mode === "certain";
      const border = this.find(".truth")?.checked ? this.border : null;
      let green = 0;
      for (let i = 0; i < n; i++) {
        const at = 4 * i;
        let r, g, b;
        if (deep) r = g = b = table[256 * data[at] + data[at + 1]];
        else [r, g, b] = [table[data[at]], table[data[at + 1]], table[data[at + 2]]];
        if (map && map[at + 2] !== UNSEEN) {
          const level = 256 * map[at] + map[at + 1], sure = level >= least;
          if (sure) green++;
          if (certain && sure) {
            r += OPACITY * (GREEN[0] - r);
            g += OPACITY * (GREEN[1] - g);
            b += OPACITY * (GREEN[2] - b);
          } else if (!certain) {
            const tint = HEATS[map[at]];
            r += HEAT * (tint[0] - r);
            g += HEAT * (tint[1] - g);
            b += HEAT * (tint[2] - b);
          }
        }
        if (border && border[i]) [r, g, b] = MARK;
        out[at] = r;
        out[at + 1] = g;
        out[at + 2] = b;
        out[at + 3] = 255;
      }
      this.composed.getContext("2d").putImageData(this.out, 0, 0);
      const sure = this.find(".sure"), share = this.find(".share");
      if (sure) sure.textContent = percent(this.certainty);
      if (share) share.textContent = map ? percent(green / n) : "–";
      this.draw();
    }

    later(work) {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        work.call(this);
      });
    }

    resize() {
      const ratio = window.devicePixelRatio || 1, { width, height } = this.image;
      const columns = Math.max(this.view.clientWidth, 1);
      const rows = clamp(columns * height / width, 160, Math.max(0.75 * window.innerHeight, 240));
      this.canvas.style.height = `${rows}px`;
      [this.canvas.width, this.canvas.height] = [Math.round(columns * ratio), Math.round(rows * ratio)];
      if (this.fitted) this.fit();
      else this.draw();
    }

    fit() {
      const { width, height } = this.image;
      this.fitted = true;
      this.scale = Math.min(this.canvas.width / width, this.canvas.height / height);
      this.centre = [width / 2, height / 2];
      this.draw();
    }

    // Enlarges, keeping the point of the image that is `at` in the view where it is.
    zoom(factor, at = [this.canvas.width / 2, this.canvas.height / 2]) {
      const least = Math.min(this.canvas.width / this.image.width, this.canvas.height / this.image.height) / 2;
      const [x, y] = this.point(at), scale = clamp(this.scale * factor, least, 40);
      this.fitted = false;
      this.scale = scale;
      this.centre = [x - (at[0] - this.canvas.width / 2) / scale, y - (at[1] - this.canvas.height / 2) / scale];
      this.move(0, 0);
    }

    // Moves the image by pixels of the view.
    move(dx, dy) {
      const { width, height } = this.image;
      this.centre = [clamp(this.centre[0] - dx / this.scale, 0, width), clamp(this.centre[1] - dy / this.scale, 0, height)];
      this.later(this.draw);
    }

    // The point of the image at a point of the view.
    point([x, y]) {
      return [(x - this.canvas.width / 2) / this.scale + this.centre[0], (y - this.canvas.height / 2) / this.scale + this.centre[1]];
    }

    draw() {
      const { context, canvas, scale } = this, { width, height } = this.image;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      // Whoever enlarges that far wants to see pixels.
      context.imageSmoothingEnabled = this.fitted || scale < 8;
      context.imageSmoothingQuality = "high";
      const left = canvas.width / 2 - scale * this.centre[0], top = canvas.height / 2 - scale * this.centre[1];
      context.drawImage(this.composed, left, top, scale * width, scale * height);
      this.view.classList.toggle("enlarged", !this.fitted);
    }

    act(action) {
      const does = {
        in: () => this.zoom(1.25),
        out: () => this.zoom(0.8),
        fit: () => this.fit(),
        pixels: () => this.zoom((window.devicePixelRatio || 1) / this.scale),
        reset: () => {
          this.find(".level").value = 500;
          this.find(".width").value = 1000;
          this.find(".invert").checked = false;
          this.compose();
        },
      };
      if (does[action]) does[action]();
    }

    step(selector, by) {
      const input = this.find(selector);
      if (!input) return;
      input.value = Number(input.value) + by;
      this.compose();
    }

    nextMode() {
      const modes = [...this.element.querySelectorAll(".modes input")];
      if (!modes.length) return;
      modes[(modes.findIndex(input => input.checked) + 1) % modes.length].checked = true;
      this.compose();
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const far = event.shiftKey ? 200 : 50;
      const flip = selector => {
        const box = this.find(selector);
        if (box) box.click();
      };
      const follow = rel => {
        const link = document.querySelector(`.neighbours a[rel=${rel}]`);
        if (link) location.href = `${link.href}#image`;
      };
      const does = {
        "+": () => this.act("in"), "=": () => this.act("in"), "-": () => this.act("out"),
        "0": () => this.act("fit"), "1": () => this.act("pixels"),
        ArrowLeft: () => this.move(far, 0), ArrowRight: () => this.move(-far, 0),
        ArrowUp: () => this.move(0, far), ArrowDown: () => this.move(0, -far),
        m: () => this.nextMode(), t: () => flip(".truth"), i: () => flip(".invert"), r: () => this.act("reset"),
        ",": () => this.step(".certainty", -5), ".": () => this.step(".certainty", 5),
        j: () => follow("next"), k: () => follow("prev"),
      };
      const act = does[event.key] || does[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    }

    // Where the pointer is, in pixels of the view.
    at(event) {
      const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    }

    read(event) {
      const [x, y] = this.point(this.at(event)).map(Math.floor), { width, height, data } = this.image;
      if (x < 0 || y < 0 || x >= width || y >= height) {
        this.find(".readout").textContent = "";
        return;
      }
      const at = 4 * (y * width + x), deep = this.element.dataset.bits === "16";
      const grey = deep ? 256 * data[at] + data[at + 1] : [data[at], data[at + 1], data[at + 2]];
      const same = deep || (grey[0] === grey[1] && grey[1] === grey[2]);
      const level = deep ? `grey ${grey}` : same ? `grey ${grey[0]}` : `colour ${grey.join(" ")}`;
      const map = this.map && this.map.data;
      const seen = map && map[at + 2] !== UNSEEN;
      const sure = map ? `, map ${seen ? percent((256 * map[at] + map[at + 1]) / 65535) : "not seen"}` : "";
      this.find(".readout").textContent = `column ${x}, row ${y}: ${level}${sure}`;
    }

    drag() {
      const fingers = new Map();
      const apart = () => {
        const [a, b] = [...fingers.values()];
        return Math.hypot(a[0] - b[0], a[1] - b[1]);
      };
      const moved = (event, from, to) => {
        const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        if (event.shiftKey || event.buttons === 2) {
          const step = 1000 / this.canvas.width;
          this.find(".level").value = Number(this.find(".level").value) - dy * step;
          this.find(".width").value = Number(this.find(".width").value) + dx * step;
          this.later(this.compose);
        } else {
          // A finger on a fitted image scrolls the page.
          if (this.fitted && event.pointerType === "touch") return;
          this.fitted = false;
          this.move(dx, dy);
        }
      };
      this.canvas.addEventListener("pointerdown", event => {
        fingers.set(event.pointerId, this.at(event));
        this.canvas.setPointerCapture(event.pointerId);
      });
      this.canvas.addEventListener("pointermove", event => {
        this.read(event);
        const from = fingers.get(event.pointerId);
        if (!from) return;
        const before = fingers.size === 2 ? apart() : 0, to = this.at(event);
        fingers.set(event.pointerId, to);
        if (fingers.size === 2 && before > 0) this.zoom(apart() / before, to);
        else moved(event, from, to);
      });
      for (const end of ["pointerup", "pointercancel"]) {
        this.canvas.addEventListener(end, event => fingers.delete(event.pointerId));
      }
      this.canvas.addEventListener("contextmenu", event => event.preventDefault());
    }

    listen() {
      this.element.addEventListener("click", event => {
        const button = event.target.closest("[data-do]");
        if (button) this.act(button.dataset.do);
      });
      for (const input of this.element.querySelectorAll(".level, .width, .invert, .certainty, .modes input")) {
        input.addEventListener("input", () => this.later(this.compose));
      }
      this.find(".map")?.addEventListener("change", () => this.showMap());
      this.find(".truth")?.addEventListener("change", () => this.showTruth());
      this.view.addEventListener("keydown", event => this.key(event));
      // The wheel scrolls the page unless the image has the focus.
      this.canvas.addEventListener("wheel", event => {
        if (!this.view.contains(document.activeElement)) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 500), this.at(event));
      }, { passive: false });
      this.canvas.addEventListener("pointerdown", () => this.view.focus({ preventScroll: true }));
      this.drag();
    }
  }

  // A stage is started when it comes into view: a page may have many.
  const watcher = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      new Stage(target).start();
    }
  }, { rootMargin: "50%" });
  const stages = document.querySelectorAll(".stage");
  for (const stage of stages) watcher.observe(stage);
  // Whoever walks through the list with the keyboard goes on walking.
  if (location.hash === "#image") stages[0]?.querySelector(".view").focus();
})();
