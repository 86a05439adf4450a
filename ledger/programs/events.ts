import { InputError } from '../../core/errors.ts';

/** Events of a program: what its orders are of, such as sale, lead, install. Each may have terms of its own. */

/** An order that names no event is of this one; every program has it. */
export const DEFAULT_EVENT = 'sale';

/** More would be a second name for what campaigns are for. */
export const MAX_EVENTS = 20;
export const MAX_EVENT_LENGTH = 40;
export const EVENT_NAME = /^[a-z][a-z0-9_]{0,39}$/;

/** A word as the name of an event, in any case and with any separator: `App-Install` is `app_install`. */
export function eventNameOf(word: string): string {
  return word
    .trim()
    .toLowerCase()
    .replace(/[\s./:-]+/g, '_');
}

/** @throws InputError naming `events`. */
export function checkEvents(events: readonly string[]): void {
  if (!events.includes(DEFAULT_EVENT)) throw new InputError('events', `must include ${DEFAULT_EVENT}`);
  if (events.length > MAX_EVENTS) throw new InputError('events', `must not exceed ${MAX_EVENTS} names`);
  if (new Set(events).size < events.length) throw new InputError('events', 'must not name one twice');
  const wrong = events.find((event) => !EVENT_NAME.test(event));
  if (wrong === undefined) return;
  throw new InputError('events', 'must be lower-case letters, digits and _, beginning with a letter');
}

/** @throws InputError naming `event_name`. */
export function checkEventOf(events: readonly string[], event: string): void {
  if (events.includes(event)) return;
  throw new InputError('event_name', `is no event of the program: ${events.join(', ')} are`);
}
