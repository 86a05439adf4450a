import type { Schemas } from '../data/api.ts';
import { words } from '../text/format.ts';
import { t } from '../text/t.ts';

/** A status as a coloured word; the colour adds no information. */

type Tone = 'good' | 'warn' | 'bad' | 'info' | 'quiet';

const TONES: Readonly<Record<string, Tone>> = {
  active: 'good',
  accepted: 'good',
  approved: 'good',
  attributed: 'good',
  available: 'good',
  confirmed: 'good',
  decided: 'good',
  delivered: 'good',
  done: 'good',
  paid: 'good',
  pending: 'warn',
  review: 'warn',
  held: 'warn',
  unknown: 'warn',
  paused: 'warn',
  partially_refunded: 'warn',
  awaiting_approval: 'warn',
  open: 'warn',
  awaiting_click: 'info',
  received: 'info',
  created: 'info',
  submitting: 'info',
  submitted: 'info',
  in_payout: 'info',
  running: 'info',
  duplicate: 'info',
  rejected: 'bad',
  failed: 'bad',
  dead: 'bad',
  suspended: 'bad',
  terminated: 'bad',
  returned: 'bad',
  disabled: 'bad',
};

export function Status({ of, text }: { of: string; text?: string }) {
  return <span class={`status ${TONES[of] ?? 'quiet'}`}>{text ?? words(of)}</span>;
}

/** Whether a coupon code credits orders now. */
export function CouponStatus({ coupon }: { coupon: Schemas['Coupon'] }) {
  const { valid_from, valid_until, withdrawn_at } = coupon;
  const now = Date.now();
  if (withdrawn_at !== null) return <Status of="withdrawn" />;
  if (valid_until !== null && Date.parse(valid_until) <= now) return <Status of="ended" />;
  if (valid_from !== null && Date.parse(valid_from) > now) return <Status of="not_yet_valid" />;
  return <Status of="active" text={t('common.valid')} />;
}
