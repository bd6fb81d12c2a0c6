// Instants and durations, in words.

const two = (number) => String(Math.floor(number)).padStart(2, "0");

/** A duration, as short as it can be said. */
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 0.001) return `${Math.max(0, seconds * 1e6).toFixed(0)} \u00b5s`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} min`;
}

/** Seconds since the start, with as many digits as `step` needs. */
function relative(seconds, step = 0.001) {
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
  const sign = seconds < 0 ? "\u2212" : "";
  const scale = 10 ** digits;
  const rounded = Math.round(Math.abs(seconds) * scale) / scale;
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const minutes = Math.floor(rounded / 60) % 60;
  const hours = Math.floor(rounded / 3600);
  return hours ? `${sign}${hours}:${two(minutes)}:${rest}` : `${sign}${minutes}:${rest}`;
}

/** The time of day where this is read. */
function clock(seconds, step = 0.001) {
  const digits = Math.max(0, Math.min(3, Math.ceil(-Math.log10(step) - 1e-9)));
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "?";
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return digits ? `${text}.${String(date.getMilliseconds()).padStart(3, "0").slice(0, digits)}` : text;
}

function day(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "?";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Day, time and the offset of where this is read, such as 2026-01-31 12:00:00.250 +01:00. */
function full(seconds) {
  const offset = -new Date(seconds * 1000).getTimezoneOffset();
  const size = Math.abs(offset);
  return `${day(seconds)} ${clock(seconds)} ${offset < 0 ? "\u2212" : "+"}${two(size / 60)}:${two(size % 60)}`;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** The distance of marks on an axis, in seconds, at least `least`. */
function tickStep(least) {
  if (least <= 1) {
    const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-6)));
    return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least * 0.999);
  }
  return STEPS.find((one) => one >= least) ?? Math.ceil(least / 86400) * 86400;
}
