/** As long as the call log keeps (the column request_id). */
const MAX_REQUEST_ID_LENGTH = 100;
const REQUEST_ID = new RegExp(`^[\\x21-\\x7e]{1,${MAX_REQUEST_ID_LENGTH}}$`);

/**
 * The id that a caller gave its request by `X-Request-Id`: printable ASCII without blanks. '' for one that cannot be
 * taken, such as that of several header lines, which the process replaces by one of its own.
 */
export function readRequestId(header: string): string {
  return REQUEST_ID.test(header) ? header : '';
}
