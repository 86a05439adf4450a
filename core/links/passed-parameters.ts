import { InputError } from '../errors.ts';

/** Parameters of a link's address that its redirect passes on to the landing page: names, or {@link ALL_PARAMETERS}. */

/** As the one name of a list: every parameter. */
export const ALL_PARAMETERS = '*';

/** More names than this are {@link ALL_PARAMETERS}. */
export const MAX_PASSED_PARAMETERS = 50;

/** What stands in names unescaped in every tool's URLs. */
const PARAMETER_NAME = /^[A-Za-z0-9_.~-]{1,64}$/;

/** The platform's own: the shop could read a visitor's value instead of the id of the click. */
const CLICK_ID = 'click_id';

/** A list as it is stored, without repetitions. @throws InputError naming `field`. */
export function parsePassedParameters(names: readonly string[], field: string): readonly string[] {
  if (names.length > MAX_PASSED_PARAMETERS) {
    throw new InputError(field, `must not have more than ${MAX_PASSED_PARAMETERS} names`);
  }
  const isAll = names.length === 1 && names[0] === ALL_PARAMETERS;
  for (const [i, name] of isAll ? [] : names.entries()) {
    if (!PARAMETER_NAME.test(name)) {
      throw new InputError(
        `${field}.${i}`,
        'must be 1 to 64 of A-Z a-z 0-9 _ . ~ -; * alone stands for every parameter',
      );
    }
    if (parameterKey(name) === CLICK_ID) {
      throw new InputError(`${field}.${i}`, 'must not be click_id: it is added to the URL');
    }
  }
  return [...new Set(names)];
}

/**
 * The name by which a shop may know a parameter: some frameworks ignore the case, PHP reads `.` and a blank as `_` and
 * cuts at `[` (https://www.php.net/manual/en/language.variables.external.php).
 */
export function parameterKey(name: string): string {
  const end = name.indexOf('[', 1);
  return (end < 0 ? name : name.slice(0, end)).trim().toLowerCase().replace(/[ .[]/g, '_');
}
