// The snippet of a shop's pages (docs/connect/snippets.md): keeps the click id of the landing URL for the checkout.
{
  const script = document.currentScript;
  const option = (name) => script?.getAttribute(`data-${name}`) ?? undefined;
  const days = Number(option('days')) || 30;
  const isId = (text) => /^[\w-]{22}$/.test(text || '');
  const landed = new URLSearchParams(location.search).get(option('param') || 'click_id');
  const fill = option('fill') === '' ? 'click_id' : option('fill');
  const targets = (option('links') || '').split(/[\s,]+/).map((target) => target.split('='));
  const mode = option('consent') || '';
  let allowed = mode === '';

  const read = () => (document.cookie.match(/(?:^|; )aff_click=([^;]*)/) || [])[1];
  const write = (value, seconds) => {
    // biome-ignore lint/suspicious/noDocumentCookie: older browsers have nothing else
    document.cookie =
      `aff_click=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax` +
      (option('domain') ? `; Domain=${option('domain')}` : '') +
      (location.protocol === 'https:' ? '; Secure' : '');
  };
  const clickId = () => [landed, read()].find(isId);
  const fillInputs = (id) => {
    if (!fill) return;
    const inputs = document.querySelectorAll(`input[type=hidden][name="${CSS.escape(fill)}"]`);
    for (const input of inputs) input.value = id;
  };
  let inCart;
  const setInCart = (id) => {
    if (option('cart') !== 'shopify' || id === inCart) return;
    inCart = id;
    fetch(`${window.Shopify?.routes?.root || '/'}cart/update.js`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ attributes: { click_id: id } }),
      keepalive: true,
    }).catch(() => {});
  };
  const keep = () => {
    if (!allowed) return;
    if (isId(landed)) write(landed, Math.round(days * 86400));
    if (!clickId()) return;
    fillInputs(clickId());
    setInCart(clickId());
  };
  // The visitor's decision; false also deletes what was kept.
  const consent = (given) => {
    allowed = given === true;
    if (allowed) return keep();
    fillInputs('');
    if (read() === undefined) return;
    write('', 0);
    setInCart('');
  };

  // Who asks the visitor, by the value of data-consent. What is not decided yet deletes nothing.
  const askers = {
    google() {
      window.dataLayer = window.dataLayer || [];
      const layer = window.dataLayer;
      let denied = false;
      let granted = false;
      // A default can be for some countries: one that denies is taken for all of them, one that grants for none.
      const see = (entry) => {
        const given = entry?.[0] === 'consent' ? entry[2]?.ad_storage : undefined;
        if (given === undefined) return false;
        if (entry[1] === 'update') consent(given === 'granted');
        else {
          denied ||= given !== 'granted';
          granted ||= !entry[2].region;
          allowed = granted && !denied;
        }
        return true;
      };
      for (const entry of [...layer]) see(entry);
      const { push } = layer;
      layer.push = (...entries) => {
        if (entries.map(see).includes(true)) keep();
        return push.apply(layer, entries);
      };
    },
    tcf() {
      window.__tcfapi?.('addEventListener', 2, ({ eventStatus, gdprApplies, purpose }, isGood) => {
        if (!isGood || !/^(tcloaded|useractioncomplete)$/.test(eventStatus)) return;
        consent(gdprApplies === false || purpose?.consents?.[1] === true);
      });
    },
    shopify() {
      document.addEventListener('visitorConsentCollected', ({ detail }) =>
        consent(detail?.marketingAllowed === true),
      );
      const look = () => window.Shopify?.customerPrivacy?.marketingAllowed?.() && consent(true);
      window.Shopify?.loadFeatures?.([{ name: 'consent-tracking-api', version: '0.1' }], look);
      look();
    },
  };

  window.afflux = { clickId, consent };
  if (Object.keys(askers).includes(mode)) askers[mode]();
  keep();
  // Forms and links that the page makes later.
  const again = () => allowed && clickId() && fillInputs(clickId());
  document.addEventListener('DOMContentLoaded', again);
  document.addEventListener('submit', again, true);
  for (const type of ['click', 'auxclick', 'contextmenu']) {
    document.addEventListener(
      type,
      ({ target }) => {
        const link = target?.closest?.('a[href]');
        const found = link && targets.find(([host]) => host !== '' && host === link.hostname);
        if (!found || !allowed || !clickId()) return;
        const url = new URL(link.href);
        url.searchParams.set(found[1] || 'click_id', clickId());
        link.href = url.href;
      },
      true,
    );
  }
}
