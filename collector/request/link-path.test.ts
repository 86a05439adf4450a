import { describe, expect, it } from 'vitest';
import { readLinkPath } from './link-path.ts';

describe('the address of a link', () => {
  it.each([
    ['/c/cat-summer', '', 'cat-summer', ''],
    ['/c/cat-summer/', '', 'cat-summer', ''],
    ['/c/cat-summer/', 'sub1=x', 'cat-summer', 'sub1=x'],
    ['//c/cat-summer', '', 'cat-summer', ''],
    ['/c//cat-summer', '', 'cat-summer', ''],
    ['/C/Cat-Summer', '', 'Cat-Summer', ''],
    ['/c/cat%2Dsummer', '', 'cat-summer', ''],
    ['/c/%63at%5fsummer', '', 'cat_summer', ''],
    ['/c/cat-summer.', '', 'cat-summer', ''],
    ['/c/cat-summer)', '', 'cat-summer', ''],
    ['/c/cat-summer,', '', 'cat-summer', ''],
    ['/c/cat-summer).', '', 'cat-summer', ''],
    ['/c/cat-summer%20', '', 'cat-summer', ''],
    ['/c/%20cat-summer', '', 'cat-summer', ''],
    ['/c/cat-summer%22', '', 'cat-summer', ''],
    ['/c/cat-summer%3E', '', 'cat-summer', ''],
    ['/c/cat-summer%0D%0A', '', 'cat-summer', ''],
    ['/c/cat-summer%E2%80%8B', '', 'cat-summer', ''],
    ['/c/cat-summer%E2%80%9D', '', 'cat-summer', ''],
    ['/c/cat-summer%E2%80%A6', '', 'cat-summer', ''],
    ['/c/cat-summer%C2%A0', '', 'cat-summer', ''],
    ['/c/cat-summer&sub1=x', '', 'cat-summer', 'sub1=x'],
    ['/c/cat-summer&sub1=a%20b&sub2=y', '', 'cat-summer', 'sub1=a%20b&sub2=y'],
    ['/c/cat-summer&sub1=x', 'sub2=y', 'cat-summer', 'sub1=x&sub2=y'],
    ['/c/cat-summer%3Fsub1%3Dx%26sub2%3Dy', '', 'cat-summer', 'sub1=x&sub2=y'],
    ['/c/cat-summer%26sub1%3Dx', '', 'cat-summer', 'sub1=x'],
    ['/c/cat-summer/?', 'sub1=x', 'cat-summer', '&sub1=x'],
  ])('%s with the query "%s" is the link %s with "%s"', (path, query, code, parameters) => {
    expect(readLinkPath(path, query)).toEqual({ code, query: parameters });
  });

  it.each([
    ['/', ''],
    ['/c', ''],
    ['/c/', ''],
    ['/c//', ''],
    ['/d/cat', ''],
    ['/c/%20', '%20'],
    ['/c/a/b', 'a/b'],
    ['/c/cat.html', 'cat.html'],
    ['/c/../etc', '../etc'],
    ['/c/k%C3%A4se', 'k%C3%A4se'],
    ['/c/%FF', '%FF'],
  ])('%s is none', (path, code) => {
    expect(readLinkPath(path, 'sub1=x')).toEqual({ code, query: 'sub1=x' });
  });

  it('takes no longer for an address that was made to be slow', () => {
    const began = performance.now();
    for (const piece of ['.', '%2E', 'a.', '-.', '%E2%80%8B', '&'])
      readLinkPath(`/c/${piece.repeat(4_000)}`, '');
    expect(performance.now() - began).toBeLessThan(500);
  });
});
