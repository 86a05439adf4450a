/** An error as ClickHouse reports it: a number, a text, and a name in capitals. */
export class QueryError extends Error {
  readonly code: number;

  /** @param type the name of the code, or '' when `message` ends with it already. */
  constructor(code: number, message: string, type: string) {
    super(type === '' ? message : `Code: ${code}. DB::Exception: ${message}. (${type})`);
    this.name = 'QueryError';
    this.code = code;
  }
}

const UNKNOWN_EXCEPTION = 1002;
/** The engine says the code again for each layer that the error passes, and its version. */
const REPEATED_CODE = /^(?:Code: \d+\. DB::(?:Parsing)?Exception: )+(?=Code: \d+\. DB::)/;
const REPEATED_TYPE = /(?: \(version [\d.]+\)\. \(\w+\))+$/;
/** What this server has put into the query, and what it has asked the engine: the client knows nothing of them. */
const OURS = [
  / ?\(in file\/uri [^)]*\)/g,
  /\s*INTO OUTFILE '(?:[^'\\]|\\.)*' APPEND COMPRESSION 'none'\s*/g,
  /\s*FROM INFILE '(?:[^'\\]|\\.)*' COMPRESSION 'none'\s*/g,
  / ?\/\* query_id [0-9A-F]* of \w+ \*\/ ?/g,
  /: In scope SELECT formatQuerySingleLine\(.*\)(?=\. \(\w+\)$)/gs,
];

/** An error of the engine as a {@link QueryError}. */
export function asQueryError(error: unknown): QueryError {
  if (error instanceof QueryError) return error;
  let message = (error instanceof Error ? error.message : String(error))
    .replace(REPEATED_CODE, '')
    .replace(REPEATED_TYPE, '');
  for (const ours of OURS) message = message.replaceAll(ours, ' ');
  message = message.replace(' . (', '. (');
  const code = Number(/^Code: (\d+)/.exec(message)?.[1] ?? UNKNOWN_EXCEPTION);
  return new QueryError(code, message, /^Code: \d+/.test(message) ? '' : 'UNKNOWN_EXCEPTION');
}

/**
 * HTTP status by ClickHouse's error code, from `exceptionCodeToHTTPStatus` in its source
 * (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp); every other code is 500.
 */
const CODES_BY_STATUS: Readonly<Record<number, readonly number[]>> = {
  // CANNOT_PARSE_*, BAD_ARGUMENTS, ILLEGAL_*, TYPE_MISMATCH, SYNTAX_ERROR, INCORRECT_DATA, TOO_DEEP_AST …
  400: [6, 25, 26, 27, 36, 38, 41, 43, 44, 53, 62, 69, 72, 117, 167, 168, 223, 376, 441, 442, 456, 457],
  // REQUIRED_PASSWORD
  401: [194],
  // UNKNOWN_USER, WRONG_PASSWORD, ACCESS_DENIED, SET_NON_GRANTED_ROLE, AUTHENTICATION_FAILED
  403: [192, 193, 497, 512, 516],
  // UNKNOWN_FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _TABLE, _AGGREGATE_FUNCTION, _FORMAT, _DATABASE, _SETTING, _ROLE …
  404: [46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 511],
  // TIMEOUT_EXCEEDED
  408: [159],
  // QUERY_IS_TOO_LARGE
  413: [266],
  // NOT_IMPLEMENTED
  501: [48],
  // SOCKET_TIMEOUT, CANNOT_OPEN_FILE
  503: [76, 209],
};

const STATUS_BY_CODE = new Map(
  Object.entries(CODES_BY_STATUS).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)])),
);

export function httpStatus(error: QueryError): number {
  return STATUS_BY_CODE.get(error.code) ?? 500;
}
