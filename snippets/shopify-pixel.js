// A custom pixel of Shopify (docs/connect/shopify.md): keeps the click id of the landing page in the cookie aff_click of
// the shop. Shopify runs it when the visitor has agreed to marketing: Permission "Required", "Marketing".
// A pixel cannot write to the cart: the snippet of the theme puts the kept id on it.
const PARAMETER = 'click_id';
const DAYS = 30;

function keep({ document }) {
  const id = new URL(document.location.href).searchParams.get(PARAMETER);
  if (!/^[\w-]{22}$/.test(id || '')) return;
  browser.cookie.set(`aff_click=${id}; Max-Age=${DAYS * 86400}; Path=/; SameSite=Lax; Secure`);
}

// The page on which the visitor agrees was viewed before this runs.
keep(init.context);
analytics.subscribe('page_viewed', ({ context }) => keep(context));
