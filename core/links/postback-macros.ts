/** The values of a conversion that macros of an outgoing postback name. */
export const POSTBACK_MACROS = [
  'click_id',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'amount',
  'commission',
  'currency',
  'order_ref',
  'event',
  'status',
  'time',
] as const;
export type PostbackMacro = (typeof POSTBACK_MACROS)[number];
