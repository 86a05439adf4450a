import { isbot } from 'isbot';

/**
 * What the library takes for a browser, or does not know, and what asks for a link without a person who sees the answer:
 *
 * - Office and Outlook open a link themselves before they hand it to the browser
 *   (https://learn.microsoft.com/en-us/office/troubleshoot/office-suite-issues/click-hyperlink-to-sso-website).
 * - Barracuda Sentinel scans mails; Google Messages makes previews.
 * - HTTP clients of apps, such as previews of messengers: Dart, Android's (Dalvik), Apple's (CFNetwork). A page inside an
 *   app is shown by a web view, whose User-Agent begins with Mozilla.
 */
const UNKNOWN_TO_LIBRARY = new RegExp(
  [
    '\\bms-office\\b',
    '^Microsoft Office/',
    '^Barracuda Sentinel',
    '^GoogleMessages/',
    '^Dart/',
    '^Dalvik/',
    '^(?!Mozilla/).*\\bCFNetwork/',
  ].join('|'),
  'i',
);

/** Whether a User-Agent is that of a robot, a preview, a scanner or a library; every browser has one. */
export function isRobot(userAgent: string): boolean {
  return userAgent === '' || isbot(userAgent) || UNKNOWN_TO_LIBRARY.test(userAgent);
}
