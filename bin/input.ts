import { InputError, OperatingError } from '../core/errors.ts';

/**
 * Runs a command whose input the ledger checks, and names the option that is at fault instead of the field.
 * @throws OperatingError `usage`.
 */
export async function namingOptions<Result>(
  options: Readonly<Record<string, string>>,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const field = error.field.replace(/\.\d+$/, '');
    const name = options[field] ?? options[field.replace(/.*\./, '')] ?? error.field;
    throw new OperatingError('usage', `${name}: ${error.reason}`);
  }
}
