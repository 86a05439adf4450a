/** Longest texts of somebody's input, in UTF-16 units; schemas and the checks before the database use the same. */

/** Of a program, campaign, affiliate, user, key. */
export const MAX_NAME_LENGTH = 200;
/** RFC 5321 allows no longer address. */
export const MAX_EMAIL_LENGTH = 254;
/** An id that a shop gave: of an order, a customer, a click, a refund, an account. */
export const MAX_REFERENCE_LENGTH = 200;
/** A link's code and an affiliate's reference code, which stand in URLs. */
export const MAX_CODE_LENGTH = 64;
/** A header of the customer's browser: browsers send far less. */
export const MAX_HEADER_LENGTH = 4_096;
/** Why somebody decided as they did. */
export const MAX_NOTE_LENGTH = 2_000;
/** Why a payout failed or came back. */
export const MAX_FAILURE_LENGTH = 500;
