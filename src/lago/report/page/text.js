// Text of strangers, as it can be looked at: whatever has no glyph, or turns what stands beside it around, is a mark.

const NO_GLYPH = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const NO_GLYPHS = new RegExp(NO_GLYPH.source, "gu");
const EMOJI_STYLE = "\ufe0f";

function mark(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  if (character === EMOJI_STYLE) return character;
  return `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a`;
}

/** What a value says, in one line, or with `lines` in several. Values may have any type: strangers may have written them. */
function visible(value, lines = false) {
  const text = plain(value);
  if (!NO_GLYPH.test(text)) return text;
  if (!lines) return text.replace(NO_GLYPHS, mark);
  return text.replace(/\r\n/g, "\n").replace(NO_GLYPHS, (one) => (one === "\n" || one === "\t" ? one : mark(one)));
}

function plain(value) {
  if (typeof value === "string") return value;
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The first `limit` characters, and that there were more. */
function clipped(text, limit) {
  return text.length > limit ? `${text.slice(0, limit)}\u2026` : text;
}

const SGR = /\u001b\[([0-9;]*)m/g;

/** Text of a console as pieces [text, class]; colours are classes, and all else that a terminal would obey is a mark. */
function coloured(value) {
  const text = plain(value).replace(/\r+$/, "");
  if (!text.includes("\u001b[")) return [[visible(text), ""]];
  const pieces = [];
  let colour = "";
  let from = 0;
  for (const match of text.matchAll(SGR)) {
    if (match.index > from) pieces.push([visible(text.slice(from, match.index)), colour]);
    for (const code of match[1].split(";")) colour = nextColour(colour, Number(code || 0));
    from = match.index + match[0].length;
  }
  pieces.push([visible(text.slice(from)), colour]);
  return pieces;
}

function nextColour(colour, code) {
  if (code === 0 || code === 39) return "";
  if (code >= 30 && code <= 37) return `lv-c${code - 30}`;
  if (code >= 90 && code <= 97) return `lv-c${code - 90}`;
  return colour;
}

function bytes(count) {
  if (!(count >= 1024)) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = -1;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

function several(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
