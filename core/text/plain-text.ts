/**
 * The ids and addresses of others: of an order, a click, a refund, a customer, a coupon code, an e-mail address. Two of them
 * that look alike are one: what people and templates leave around them is cut off, letters are composed (Unicode NFC).
 * Every way in uses this, so that an order that is reported by one and refunded by another is the same order.
 */
export function plainText(value: string): string {
  return value.trim().normalize('NFC');
}

/** Control and format characters (UAX 44: Cc, Cf), line separators, surrogates, what fonts leave out, damaged UTF-8. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufffd]/u;

/** The first character that no reader sees, such as `U+200B`; undefined: there is none. */
export function hiddenCharacter(value: string): string | undefined {
  const code = HIDDEN.exec(value)?.[0].codePointAt(0);
  return code === undefined ? undefined : `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}
