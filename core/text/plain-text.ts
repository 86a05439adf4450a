/** Characters that are not seen, control characters and halves of surrogate pairs: texts that differ by them look alike. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]/u;

/** Text as it is compared: trimmed, and in one form of Unicode (NFC). Undefined where it has characters that are not seen. */
export function plainText(value: string): string | undefined {
  const text = value.trim().normalize('NFC');
  return UNSEEN.test(text) ? undefined : text;
}
