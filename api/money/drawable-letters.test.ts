import { createRequire } from 'node:module';
import fc from 'fast-check';
import { type Font, openSync } from 'fontkit';
import { expect, test } from 'vitest';
import { inDrawableLetters } from './drawable-letters.ts';

const { resolve } = createRequire(import.meta.url);
const fonts = ['400Regular/NotoSans_400Regular.ttf', '700Bold/NotoSans_700Bold.ttf'].map(
  (name) => openSync(resolve(`@expo-google-fonts/noto-sans/${name}`)) as Font,
);
const [regular] = fonts;
const draw = (text: string) =>
  inDrawableLetters(text, (codePoint) => regular?.hasGlyphForCodePoint(codePoint) === true);

test.each([
  ['Zoë Ünal-Søn & Söhne GmbH', 'Zoë Ünal-Søn & Söhne GmbH'],
  ['Ελένη Παπαδοπούλου', 'Ελένη Παπαδοπούλου'],
  ['Юлия Ковальчук', 'Юлия Ковальчук'],
  // Letters with their marks apart are drawn as one.
  ['Zoe\u0308', 'Zoë'],
  ['王小明', 'WangXiaoMing'],
  ['株式会社サンプル', 'ZhuShiHuiShesanpuru'],
  ['김민준', 'GimMinJun'],
  ['Ünal 王', 'Ünal Wang'],
  ['שלום', 'slvm'],
  ['محمد', 'mhmd'],
  ['สมชาย', 'smchay'],
  ['Shop 😀', 'Shop :grinning:'],
  // Its joiner is drawn as nothing.
  ['👩\u200d💻', ':woman:\u200d:computer:'],
  ['a\tb\u0007c\nd', 'a b c\nd'],
  // Of private use, with no meaning here.
  ['\ue000', '?'],
])('%j is drawn as %j', (text, drawn) => {
  expect(draw(text)).toBe(drawn);
});

test('whatever the text, no character is an empty box in either font', () => {
  const anyText = fc.string({ unit: 'binary', maxLength: 50 });
  fc.assert(
    fc.property(anyText, (text) => {
      for (const character of draw(text)) {
        const codePoint = character.codePointAt(0) ?? 0;
        expect(character === '\n' || fonts.every((font) => font.hasGlyphForCodePoint(codePoint))).toBe(true);
      }
    }),
    { numRuns: 5_000 },
  );
});
