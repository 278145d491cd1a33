"use strict";
// Draws the data of the page: layers as areas that open, and files tensor by tensor. Nothing is ever parsed as markup:
// texts are set as texts, and names are keys of maps.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [NAME, DTYPE, SHAPE, BYTES, OFFSET, OTHERS, ELEMENTS, GROUPS] = [0, 1, 2, 3, 4, 5, 6, 7];
  const LEAST_AREA = 700, MOST_CELLS = 150, MOST_TAILS = 60, TITLE = 18, GAP = 2, SHARDS_AT_ONCE = 40, LEAST_SEGMENT = 4, LEVELS = 2, MOST_COMPARED = 200, CHARACTER = 7.3, MOST_IN_STRIP = 60;

  const element = (tag, classes, text) => {
    const made = document.createElement(tag);
    made.className = classes;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  // Which of the groups of a tensor is shown by colours: the first one, until another is chosen.
  let colouring = 0;
  const groupOf = (tensor) => tensor[GROUPS + colouring];
  const colour = (group) => `c${group < 0 ? data.other : data.colourings[colouring].colours[group]}`;
  const size = (bytes) => {
    for (const [unit, scale] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) {
      if (bytes >= scale) return `${(Math.min(Math.round(bytes / scale * 10), unit === "TB" ? Infinity : 9999) / 10).toFixed(1)} ${unit}`;
    }
    return `${bytes} B`;
  };
  const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  // A name that is written from right to left leaves what follows it in place (the signs are LRM, by
  // which the line goes from left to right, FSI and PDI).
  const isolated = (name) => `\u200e\u2068${name}\u2069`;
  const describe = (tensor, file) => {
    const parts = [isolated(tensor[NAME]), data.dtypes[tensor[DTYPE]], tensor[SHAPE], size(tensor[BYTES])];
    if (file !== undefined) parts.push(file);
    if (tensor[OFFSET] !== null) parts.push(`at byte ${tensor[OFFSET].toLocaleString("en")}`);
    if (tensor[OTHERS]) parts.push(`${counted(tensor[OTHERS], "other name")} for the same bytes`);
    return parts.join(" · ");
  };

  // layers

  const layer = (label, above) => ({ label, above, below: new Map(), bytes: 0, tensors: 0, elements: 0, sums: data.colourings.map(() => new Map()), dtypes: new Map(), tensor: null, file: null });
  const increase = (sums, key, bytes) => sums.set(key, (sums.get(key) || 0) + bytes);
  const build = () => {
    const root = layer("all", null);
    for (const shard of data.shards) {
      for (const tensor of shard.tensors) {
        let node = root;
        add(node, tensor);
        for (const part of tensor[NAME].split(".")) {
          if (!node.below.has(part)) node.below.set(part, layer(part, node));
          node = node.below.get(part);
          add(node, tensor);
        }
        node.tensor = tensor;
        node.file = shard.name;
      }
    }
    return root;
  };
  const add = (node, tensor) => {
    node.bytes += tensor[BYTES];
    node.tensors += 1;
    node.elements += tensor[ELEMENTS];
    increase(node.dtypes, tensor[DTYPE], tensor[BYTES]);
    node.sums.forEach((sums, place) => increase(sums, tensor[GROUPS + place], tensor[BYTES]));
  };
  const dominant = (node) => [...(node.sums[colouring] || [])].reduce((best, next) => (next[1] > best[1] ? next : best), [-1, -1])[0];
  const isLeaf = (node) => node.below.size === 0;
  // A chain of single layers is passed over as a whole.
  const opened = (node) => {
    while (node.below.size === 1 && !node.tensor) node = node.below.values().next().value;
    return node;
  };
  const parts = (node, top) => {
    const labels = [];
    for (let at = node; at && at !== top; at = at.above) labels.push(at.label);
    return labels.reverse();
  };
  // As many of the last parts of a label as there is room for: the end of a name tells neighbours apart, but for
  // `weight` alone, which the part before it is shown for.
  const lastParts = (label, width) => {
    const names = label.split("."), last = names[names.length - 1];
    for (let first = 0; first < names.length - 1; first += 1) {
      const shown = names.slice(first).join(".");
      if (shown.length * CHARACTER <= width) return shown;
    }
    return names.length > 1 && last === "weight" ? names[names.length - 2] : last;
  };
  // A label, and the size where there is room for both.
  const titled = (label, bytes, width) => {
    const both = `${label} · ${size(bytes)}`;
    return both.length * CHARACTER > width ? lastParts(label, width) : `${isolated(label)} · ${size(bytes)}`;
  };
  const tell = (node) => {
    if (node.tensor && isLeaf(node)) return describe(node.tensor, node.file);
    const types = [...node.dtypes].sort((a, b) => b[1] - a[1]).map(([d, b]) => `${data.dtypes[d]} ${size(b)}`);
    const name = node.virtual ? node.label : parts(node, root).join(".") || "all";
    return `${isolated(name)} · ${counted(node.tensors, "tensor")} · ${counted(node.elements, "parameter")} · ${size(node.bytes)} · ${types.join(", ")}`;
  };

  // How elongated the cells of a strip are: the sum of their proportions, longer to shorter side.
  const elongation = (areas, begin, end, width) => {
    let sum = 0, all = 0;
    for (let at = begin; at < end; at += 1) sum += areas[at];
    const square = (sum / width) ** 2;
    for (let at = begin; at < end; at += 1) if (areas[at]) all += Math.max(areas[at] / square, square / areas[at]);
    return all;
  };
  // Strips of cells, which are read like lines, divided so that cells are as little elongated as they can be.
  const strips = (weights, x, y, width, height) => {
    const total = weights.reduce((a, b) => a + b, 0), side = Math.max(width, 1e-6);
    const areas = weights.map((weight) => (total ? weight * width * height / total : 0));
    const best = [[0, 0]];
    for (let end = 1; end <= areas.length; end += 1) {
      let least = [Infinity, 0];
      for (let at = end - 1; at >= Math.max(end - MOST_IN_STRIP, 0); at -= 1) {
        const all = best[at][0] + elongation(areas, at, end, side);
        if (all < least[0]) least = [all, at];
      }
      best.push(least);
    }
    const ends = [];
    for (let end = areas.length; end > 0; end = best[end][1]) ends.unshift(end);
    const made = [];
    let begin = 0, top = y;
    for (const end of ends) {
      const strip = areas.slice(begin, end), high = strip.reduce((a, b) => a + b, 0) / side;
      let left = x;
      for (const area of strip) {
        const wide = high ? area / high : 0;
        made.push([left, top, wide, high]);
        left += wide;
      }
      top += high;
      begin = end;
    }
    return made;
  };
  const group = (nodes, above, label) => {
    const made = layer(label, above);
    made.virtual = true;
    nodes.forEach((node, place) => {
      made.below.set(place, node);
      made.bytes += node.bytes;
      made.tensors += node.tensors;
      made.elements += node.elements;
      for (const [dtype, bytes] of node.dtypes) increase(made.dtypes, dtype, bytes);
      node.sums.forEach((sums, at) => { for (const [part, bytes] of sums) increase(made.sums[at], part, bytes); });
    });
    return made;
  };
  // The tail as one cell, or as several if it is most of the layer, for example thousands of equal blocks.
  const tails = (rest, above, number) => {
    if (number < 2) return [group(rest, above, `${rest.length.toLocaleString("en")} more`)];
    const each = Math.ceil(rest.length / number), made = [];
    for (let at = 0; at < rest.length; at += each) {
      const some = rest.slice(at, at + each);
      made.push(group(some, above, some.length > 1 ? `${some[0].label} … ${some[some.length - 1].label}` : some[0].label));
    }
    return made;
  };
  const order = new Intl.Collator("en", { numeric: true });
  const naturally = (a, b) => order.compare(a.label.slice(0, MOST_COMPARED), b.label.slice(0, MOST_COMPARED));
  // What has room, in natural order, and the rest in cells that can be opened too.
  const foreground = (node, area, least, most) => {
    const all = [...node.below.values()].sort((a, b) => b.bytes - a.bytes);
    if (node.tensor) {
      const itself = Object.assign(layer("(itself)", node), { tensor: node.tensor, file: node.file });
      add(itself, node.tensor);
      all.push(itself);
    }
    let shown = all.findIndex((child, place) => place >= most || child.bytes * area < least * node.bytes);
    if (shown < 0) shown = all.length;
    const left = all.slice(shown).reduce((sum, child) => sum + child.bytes, 0);
    const many = Math.min(Math.floor(area * left / Math.max(node.bytes, 1) / (8 * least)), MOST_TAILS, most - shown, Math.ceil((all.length - shown) / 2));
    if (shown === 0 && all.length && many < 2) shown = 1;
    if (all.length - shown === 1 && all[shown].bytes) shown += 1;
    const rest = all.slice(shown);
    const cells = all.slice(0, shown).sort(naturally).map((child) => [child, child.bytes]);
    // A tail stays large enough to be hit.
    for (const tail of rest.length ? tails(rest, node, many) : []) {
      cells.push([tail, Math.max(tail.bytes, 2 * least / Math.max(area, 1) * Math.max(node.bytes, 1))]);
    }
    return cells;
  };

  const root = build();
  const map = document.getElementById("treemap");
  const about = document.getElementById("treemap-about");
  let current = opened(root);

  const place = (made, [x, y, width, height]) => {
    Object.assign(made.style, { left: `${x}px`, top: `${y}px`, width: `${Math.max(width, 0)}px`, height: `${Math.max(height, 0)}px` });
  };
  // The layers inside a cell, which cannot be focused: only the cells of the opened layer can.
  const fillIn = (made, node, width, height, level) => {
    const cells = foreground(node, width * (height - TITLE), 160, 40);
    const boxes = strips(cells.map(([, weight]) => weight), 3, TITLE, width - 8, height - TITLE - 6);
    cells.forEach(([child], number) => {
      const [x, y, w, h] = boxes[number], inner = opened(child);
      const deeper = level < LEVELS && !isLeaf(inner) && w > 90 && h > 64;
      const label = child.virtual ? child.label : parts(inner, node).join(".");
      const part = element("span", `inner ${deeper ? "layer" : colour(dominant(child))}`);
      if (w > 30 && h > 16) part.append(element("bdi", "title name", child.virtual ? label : titled(label, child.bytes, w - 8)));
      part.setAttribute("aria-hidden", "true");
      place(part, [x, y, w - 1, h - 1]);
      if (deeper) fillIn(part, inner, w, h, level + 1);
      made.append(part);
    });
  };
  const cell = (node, box) => {
    const inner = opened(node), leaf = isLeaf(inner), [, , width, height] = box;
    const nested = !leaf && width > 80 && height > 60;
    const made = element("button", `cell ${leaf ? "leaf" : nested ? "layer" : ""} ${nested ? "" : colour(dominant(node))}`);
    made.type = "button";
    made.tabIndex = -1;
    made.node = node;
    place(made, [box[0] + GAP / 2, box[1] + GAP / 2, width - GAP, height - GAP]);
    const label = node.virtual ? node.label : parts(inner, node.above).join(".");
    const detail = leaf ? `${data.dtypes[inner.tensor[DTYPE]]} ${inner.tensor[SHAPE]}, ${size(inner.bytes)}` : `${counted(node.tensors, "tensor")}, ${counted(node.elements, "parameter")}, ${size(node.bytes)}`;
    made.setAttribute("aria-label", `${label}, ${detail}${leaf ? "" : ", opens"}`);
    if (width > 34 && height > 18) made.append(element("bdi", "title name", node.virtual ? label : nested ? titled(label, node.bytes, width - 12) : lastParts(label, width - 12)));
    if (!nested && width > 60 && height > 36) made.append(element("span", "detail", detail));
    if (nested) fillIn(made, inner, width, height, 1);
    return made;
  };
  const trail = () => {
    const way = [];
    for (let at = current; at; at = at.above) if (at === opened(at) || at === root) way.push(at);
    document.getElementById("trail").replaceChildren(...way.reverse().filter((at, n, all) => !(at === root && opened(root) !== root && all.length > 1)).map((at) => {
      const button = element("button", "name", at.above ? (at.virtual ? at.label : parts(at, at === opened(root) ? root : above(at)).join(".")) : "all");
      button.type = "button";
      if (at === current) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => open(at));
      return button;
    }));
  };
  // The layer that is shown when this one is left.
  const above = (node) => {
    let at = node.above;
    while (at && at !== opened(at)) at = at.above;
    return at || opened(root);
  };
  const draw = (from) => {
    const { clientWidth: width, clientHeight: height } = map;
    if (!width) return;
    const cells = foreground(current, width * height, LEAST_AREA, MOST_CELLS);
    const boxes = strips(cells.map(([, weight]) => weight), 0, 0, width, height);
    map.replaceChildren(...cells.map(([node], number) => cell(node, boxes[number])));
    const first = [...map.children].find((made) => from && leadsTo(made.node, from)) || map.firstElementChild;
    if (first) first.tabIndex = 0;
    trail();
    about.textContent = tell(current);
    return first;
  };
  const leadsTo = (node, from) => {
    if (node.virtual) return [...node.below.values()].includes(from) || node.label === from.label;
    for (let at = from; at; at = at.above) if (at === node) return true;
    return false;
  };
  const open = (node, from) => {
    const inner = opened(node);
    if (isLeaf(inner)) { about.textContent = tell(inner); return; }
    current = inner;
    const first = draw(from);
    if (first) first.focus();
    if (!current.virtual) history.replaceState(null, "", current === opened(root) ? "#" : `#${encodeURIComponent(parts(current, root).join("."))}`);
  };
  const focusOn = (made) => {
    for (const other of made.parentElement.children) other.tabIndex = -1;
    made.tabIndex = 0;
    made.focus();
  };
  const middle = (made) => [made.offsetLeft + made.offsetWidth / 2, made.offsetTop + made.offsetHeight / 2];
  // The cell that lies nearest in the direction of an arrow.
  const neighbour = (from, dx, dy) => {
    const [x, y] = middle(from);
    let best = null, least = Infinity;
    for (const other of map.children) {
      const [ox, oy] = middle(other), along = (ox - x) * dx + (oy - y) * dy, aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
      if (other !== from && along > 1 && along + 2 * aside < least) { best = other; least = along + 2 * aside; }
    }
    return best;
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const goTo = (hash) => {
    let node = root;
    for (const part of decodeURIComponent(hash.slice(1)).split(".")) node = node.below.get(part) || node;
    current = isLeaf(opened(node)) ? opened(root) : opened(node);
  };

  if (map) {
    document.getElementById("areas").hidden = false;
    map.addEventListener("click", (event) => { const made = event.target.closest(".cell"); if (made) open(made.node); });
    for (const kind of ["focusin", "mouseover"]) map.addEventListener(kind, (event) => { const made = event.target.closest(".cell"); if (made) about.textContent = tell(opened(made.node)); });
    document.getElementById("areas").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && current !== opened(root)) { const from = current; open(above(current), from); event.preventDefault(); }
      const made = event.target.closest(".cell");
      if (!made) return;
      const next = ARROWS[event.key] ? neighbour(made, ...ARROWS[event.key]) : event.key === "Home" ? map.firstElementChild : event.key === "End" ? map.lastElementChild : null;
      if (next || ARROWS[event.key]) event.preventDefault();
      if (next) focusOn(next);
    });
    try { if (location.hash.length > 1) goTo(location.hash); } catch { current = opened(root); }
    addEventListener("hashchange", () => { try { goTo(location.hash); draw(); } catch { /* a hash that names no layer */ } });
    draw();
  }

  // shards

  const rows = document.getElementById("shard-rows");
  const scale = Math.max(data.limit || 0, ...data.shards.map((shard) => shard.nbytes), 1);
  const segments = (shard, width) => {
    const made = [];
    let begin = 0, end = 0, from = 0;
    shard.tensors.forEach((tensor, number) => {
      end += tensor[BYTES];
      if ((end - begin) / scale * width < LEAST_SEGMENT && number < shard.tensors.length - 1) return;
      const inside = shard.tensors.slice(from, number + 1);
      const largest = inside.reduce((a, b) => (b[BYTES] > a[BYTES] ? b : a));
      made.push({ begin, end, group: groupOf(largest), text: inside.length === 1 ? describe(inside[0]) : `${counted(inside.length, "tensor")}, ${size(end - begin)}: ${inside[0][NAME]} … ${inside[inside.length - 1][NAME]}` });
      begin = end;
      from = number + 1;
    });
    return made;
  };
  const fill = (track, shard) => {
    const width = track.clientWidth;
    track.replaceChildren(...segments(shard, width).map((segment, number) => {
      const made = element("button", `segment ${colour(segment.group)}`);
      made.type = "button";
      made.tabIndex = number ? -1 : 0;
      made.setAttribute("aria-label", segment.text);
      made.title = segment.text;
      Object.assign(made.style, { left: `${100 * segment.begin / scale}%`, width: `${Math.max(100 * (segment.end - segment.begin) / scale, 100 / Math.max(width, 100))}%` });
      return made;
    }));
    if (data.limit) {
      const mark = element("span", "limit");
      mark.style.left = `${100 * data.limit / scale}%`;
      track.append(mark);
    }
  };
  let shownShards = 0;
  const moreShards = () => {
    for (const shard of data.shards.slice(shownShards, shownShards + SHARDS_AT_ONCE)) {
      const row = element("div", data.limit && shard.nbytes > data.limit ? "shard over" : "shard");
      const track = element("div", "track");
      track.setAttribute("role", "group");
      track.setAttribute("aria-label", `${shard.name}, ${size(shard.size)}, ${counted(shard.tensors.length, "tensor")}`);
      track.shard = shard;
      row.append(element("bdi", "name", shard.name), track, element("span", "number", `${size(shard.size)}, ${counted(shard.tensors.length, "tensor")}`));
      rows.append(row);
      fill(track, shard);
    }
    shownShards = Math.min(shownShards + SHARDS_AT_ONCE, data.shards.length);
    const more = document.getElementById("more-shards");
    more.hidden = shownShards >= data.shards.length;
    more.textContent = `show ${Math.min(SHARDS_AT_ONCE, data.shards.length - shownShards)} more of ${data.shards.length.toLocaleString("en")}`;
  };
  if (rows) {
    document.getElementById("shards").hidden = false;
    document.getElementById("shard-table").open = false;
    document.getElementById("more-shards").addEventListener("click", moreShards);
    const note = document.getElementById("shards-about");
    for (const kind of ["focusin", "mouseover"]) rows.addEventListener(kind, (event) => { const made = event.target.closest(".segment"); if (made) note.textContent = `${made.parentElement.shard.name}: ${made.title}`; });
    rows.addEventListener("keydown", (event) => {
      const made = event.target.closest(".segment");
      if (!made) return;
      const all = [...made.parentElement.querySelectorAll(".segment")], at = all.indexOf(made);
      const next = { ArrowRight: all[at + 1], ArrowLeft: all[at - 1], Home: all[0], End: all[all.length - 1] }[event.key];
      if (!next) return;
      event.preventDefault();
      for (const other of all) other.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    moreShards();
  }
  document.querySelectorAll("#layer-table").forEach((table) => { table.open = false; });

  const choices = [...document.querySelectorAll("#colours button")];
  const choose = (place) => {
    colouring = place;
    choices.forEach((button, at) => button.setAttribute("aria-pressed", at === place));
    // The legend is what the colours show now.
    document.querySelectorAll(".groups").forEach((groups, at) => groups.classList.toggle("plain", at !== place));
  };
  const redraw = () => {
    if (map) draw();
    for (const track of document.querySelectorAll(".track")) fill(track, track.shard);
  };
  choices.forEach((button, place) => button.addEventListener("click", () => { choose(place); redraw(); }));
  choose(0);

  let waiting = false, lastWidth = innerWidth;
  addEventListener("resize", () => {
    if (waiting || innerWidth === lastWidth) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      lastWidth = innerWidth;
      redraw();
    });
  });
})();
