import { readFileSync } from 'node:fs';
import { errorText, OperatingError } from '../errors.ts';
import { VARIABLE_NAMES } from './config.ts';

const SUFFIX = '_FILE';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The environment with the variables that `NAME_FILE` names the file of, as secret stores of containers mount them; blanks
 * around the text do not count. @throws OperatingError `invalid_config` that lists every file that cannot be read, and
 * every variable that is given in both ways.
 */
export function withSecretFiles(env: Environment): Environment {
  const faults: string[] = [];
  const read: Record<string, string> = {};
  for (const name of VARIABLE_NAMES) {
    const file = env[name + SUFFIX];
    if (!file) continue;
    if (env[name]) faults.push(`${name} and ${name}${SUFFIX} are both set`);
    try {
      read[name] = readFileSync(file, 'utf8').trim();
    } catch (error) {
      faults.push(`${name}${SUFFIX}: ${errorText(error)}`);
    }
  }
  if (faults.length > 0) {
    throw new OperatingError('invalid_config', `invalid environment:\n  ${faults.join('\n  ')}`);
  }
  return { ...env, ...read };
}
