import anyAscii from 'any-ascii';

/** What is drawn as nothing: marks that join, turn or vary the characters beside them. */
const UNSEEN = /^[\p{Cf}\p{M}]$/u;
/** Spaces and line ends of any kind. */
const SPACE = /^[\s\p{Cc}]$/u;

/**
 * A text in the characters that a font has: the others transliterated ("王小明" is "WangXiaoMing", "😀" is ":grinning:"), and
 * one that has no transliteration a question mark, so that none is an empty box.
 */
export function inDrawableLetters(text: string, isDrawable: (codePoint: number) => boolean): string {
  let drawable = '';
  for (const character of text.normalize('NFC')) {
    if (character === '\n' || isDrawable(character.codePointAt(0) ?? 0)) drawable += character;
    else if (SPACE.test(character)) drawable += ' ';
    else drawable += anyAscii(character) || (UNSEEN.test(character) ? '' : '?');
  }
  return drawable;
}
