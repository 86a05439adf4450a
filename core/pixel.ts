/** One transparent pixel, GIF89a: the answer to pictures that count something. */
export const PIXEL_GIF = Buffer.from(
  'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==',
  'base64',
);
export const PIXEL_MEDIA_TYPE = 'image/gif';
