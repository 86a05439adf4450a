import { expect, test } from 'vitest';
import { findRoute, type Route } from './router.tsx';

const page = () => null;
const routes: readonly Route[] = [
  { path: '/', page },
  { path: '/links', page },
  { path: '/links/:id', page },
];

test('the first route whose every part fits is found, with what it names', () => {
  expect(findRoute(routes, '/')?.route.path).toBe('/');
  expect(findRoute(routes, '/links')?.params).toEqual({});
  expect(findRoute(routes, '/links/lnk_1%2F2')).toMatchObject({
    route: { path: '/links/:id' },
    params: { id: 'lnk_1/2' },
  });
  expect(findRoute(routes, '/links/lnk_1/more')).toBeUndefined();
  expect(findRoute(routes, '/nothing')).toBeUndefined();
});

test('a part that is no UTF-8 names nothing, and does not end the portal', () => {
  expect(findRoute(routes, '/links/%E0%A4%A')?.params).toEqual({ id: '%E0%A4%A' });
});
