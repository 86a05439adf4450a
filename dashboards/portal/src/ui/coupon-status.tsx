import type { Schemas } from '../data/api.ts';
import { Status } from './status.tsx';

/** Whether a coupon code credits orders now. */
export function CouponStatus({ coupon }: { coupon: Schemas['Coupon'] }) {
  const { valid_from, valid_until, withdrawn_at } = coupon;
  const now = Date.now();
  if (withdrawn_at !== null) return <Status of="withdrawn" />;
  if (valid_until !== null && Date.parse(valid_until) <= now) return <Status of="ended" />;
  if (valid_from !== null && Date.parse(valid_from) > now) return <Status of="not_yet_valid" />;
  return <Status of="active" text="Valid" />;
}
