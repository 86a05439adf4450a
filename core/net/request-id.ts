/** As long as the call log keeps (the column request_id). */
const MAX_REQUEST_ID_LENGTH = 100;
/** What ids are made of, and no addresses, URLs with queries or texts; nor a key or signing secret of the platform. */
const REQUEST_ID = new RegExp(`^(?!.*(?:afx_|whsec_))[a-z0-9._:/+=-]{1,${MAX_REQUEST_ID_LENGTH}}$`, 'i');

/**
 * The id that a caller gave its request by `X-Request-Id`, which is written to logs and kept. '' for one that cannot be
 * taken, such as that of several header lines, which the process replaces by one of its own.
 */
export function readRequestId(header: string): string {
  return REQUEST_ID.test(header) ? header : '';
}
