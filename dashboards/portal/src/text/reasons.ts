import type { Schemas } from '../data/api.ts';
import { t } from './t.ts';

/** The reason of a decision in a few words; `whyText` says whether it still counts. */

type Reason = NonNullable<Schemas['Conversion']['reason']>;

export function reasonText(reason: Reason): string {
  return t(`reason.${reason}`);
}
