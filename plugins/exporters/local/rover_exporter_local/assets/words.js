const byId = (id) => document.getElementById(id);

// --- What values mean ---------------------------------------------------------------------------------------------

const TIME = {nanoseconds: 1, microseconds: 1e3, milliseconds: 1e6, seconds: 1e9};
const percent = (value, of) => of ? `${(100 * value / of).toFixed(value && value / of < .001 ? 3 : 1)} %` : "–";
const digits = (value) => value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);

function duration(ns) {
  const units = [[3.6e12, "h"], [6e10, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
  const unit = units.find(([size]) => ns >= size);
  return unit ? `${digits(ns / unit[0])} ${unit[1]}` : `${ns.toFixed(0)} ns`;
}

function bytes(value) {
  const units = [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  const unit = units.find(([size]) => value >= size);
  return unit ? `${digits(value / unit[0])} ${unit[1]}` : `${value} byte${value === 1 ? "" : "s"}`;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A test of names and modules: text anywhere in them whatever the case, or /a regular expression/.
function matcher(search) {
  const pattern = /^\/(.+?)\/?$/.exec(search);
  if (!pattern) { const wanted = search.toLowerCase(); return (text) => text.toLowerCase().includes(wanted); }
  const expression = new RegExp(pattern[1], "i");
  return (text) => expression.test(text);
}

