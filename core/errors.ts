/**
 * An operating error: something outside the program went wrong and a person can mend it.
 * `code` is a stable literal for scripts and metrics; `message` says what to change.
 */
export class OperatingError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'OperatingError';
    this.code = code;
  }
}

/** `no_rate`: the field is well-formed, and the operator has not stored what is needed to accept it. */
export type InputErrorCode = 'invalid_input' | 'no_rate';

/** A field of somebody's input is wrong. `field` is the name they wrote; `message` says what it must be. */
export class InputError extends Error {
  readonly code: InputErrorCode;
  readonly field: string;

  constructor(field: string, message: string, code: InputErrorCode = 'invalid_input') {
    super(`${field}: ${message}`);
    this.name = 'InputError';
    this.field = field;
    this.code = code;
  }
}

/** Stops the process on a broken assumption: a bug, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** The text of anything that was thrown, with its causes. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message || ('code' in error ? String(error.code) : error.name);
  const nested = error instanceof AggregateError ? error.errors.map(errorText).join('; ') : '';
  const cause = error.cause === undefined ? '' : ` (cause: ${errorText(error.cause)})`;
  return `${own}${nested && !own.includes(nested) ? `: ${nested}` : ''}${cause}`;
}
