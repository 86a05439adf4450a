/**
 * Text for a terminal: control characters, and those that turn the direction of text round, as escapes. Somebody else's
 * text could otherwise move the cursor, set the title, or write what looks like our own lines.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
