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

  const cookie = (name) => (document.cookie.match(`(?:^|; )${name}=([^;]*)`) || [])[1];
  const setCookie = (value, seconds, domain) => {
    // biome-ignore lint/suspicious/noDocumentCookie: older browsers have nothing else
    document.cookie =
      `aff_click=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax` +
      (domain ? `; Domain=${domain}` : '') +
      (location.protocol === 'https:' ? '; Secure' : '');
  };
  const write = (value, seconds) => {
    // One of this host alone, from before the page had a domain, would stay beside it.
    if (option('domain')) setCookie('', 0);
    setCookie(value, seconds, option('domain'));
  };
  const clickId = () => [landed, cookie('aff_click')].find(isId);
  const fillInputs = (id) => {
    if (!fill) return;
    const inputs = document.querySelectorAll(`input[type=hidden][name="${CSS.escape(fill)}"]`);
    for (const input of inputs) input.value = id;
  };
  let wanted;
  let inCart;
  // What Shopify refuses is tried again at the next event of the page.
  const setInCart = () => {
    if (option('cart') !== 'shopify' || wanted === inCart) return;
    inCart = wanted;
    fetch(`${window.Shopify?.routes?.root || '/'}cart/update.js`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ attributes: { click_id: wanted } }),
      keepalive: true,
    })
      .catch(() => ({ ok: false }))
      .then(({ ok }) => {
        if (!ok) inCart = undefined;
      });
  };
  const keep = () => {
    if (!allowed) return;
    if (isId(landed)) write(landed, Math.round(days * 86400));
    if (!clickId()) return;
    fillInputs(clickId());
    wanted = clickId();
    setInCart();
  };
  // The visitor's decision; false also deletes what was kept.
  const consent = (given) => {
    allowed = given === true;
    if (allowed) return keep();
    fillInputs('');
    if (cookie('aff_click') === undefined) return;
    write('', 0);
    wanted = '';
    setInCart();
  };

  // Who asks the visitor, by the value of data-consent; each returns what looks again. What is not decided yet deletes nothing.
  const askers = {
    google() {
      window.dataLayer = window.dataLayer || [];
      const layer = window.dataLayer;
      let denied = false;
      let granted = false;
      let state;
      let heard;
      // Google's own state: banners that are templates of Tag Manager change it without a word in the dataLayer.
      const look = () => {
        const ics = window.google_tag_data?.ics;
        if (ics !== heard) ics.addListener?.(['ad_storage'], look);
        heard = ics;
        const { update, default: before } = ics?.entries?.ad_storage || {};
        const given = update ?? before;
        if (given === undefined || state === `${update} ${before}`) return;
        state = `${update} ${before}`;
        if (given || update === false) consent(given);
        else allowed = false;
      };
      // A default can be for some countries: one that denies is taken for all of them, one that grants for none.
      const see = (entry) => {
        const given = entry?.[0] === 'consent' ? entry[2]?.ad_storage : undefined;
        if (given === undefined) return false;
        if (entry[1] === 'update') consent(given === 'granted');
        else {
          denied ||= given !== 'granted';
          granted ||= !entry[2].region;
          if (state === undefined) allowed = granted && !denied;
        }
        return true;
      };
      for (const entry of [...layer]) see(entry);
      look();
      const { push } = layer;
      layer.push = (...entries) => {
        look();
        if (entries.map(see).includes(true)) keep();
        return push.apply(layer, entries);
      };
      return look;
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
      const look = () => {
        const privacy = window.Shopify?.customerPrivacy;
        if (privacy?.marketingAllowed?.()) consent(true);
        else if (privacy?.currentVisitorConsent?.().marketing === 'no') consent(false);
      };
      window.Shopify?.loadFeatures?.([{ name: 'consent-tracking-api', version: '0.1' }], look);
      look();
      return look;
    },
    wordpress() {
      const look = () => {
        // A banner may still have to say by which law it asks.
        const isEarly = window.waitfor_consent_hook && window.wp_consent_type === undefined;
        if (!window.wp_has_consent || isEarly) return;
        const prefix = window.consent_api?.cookie_prefix || 'wp_consent';
        if (window.wp_has_consent('marketing')) consent(true);
        else if (cookie(`${prefix}_marketing`) === 'deny') consent(false);
      };
      for (const type of ['wp_listen_for_consent_change', 'wp_consent_type_defined'])
        document.addEventListener(type, look);
      look();
      return look;
    },
  };

  let look = Object.keys(askers).includes(mode) ? askers[mode]() : undefined;
  window.afflux = {
    clickId,
    consent(given) {
      // The page's own word counts until there is a new one.
      look = undefined;
      consent(given);
    },
  };
  keep();
  // Forms and links that the page makes later.
  const again = () => {
    look?.();
    setInCart();
    if (allowed && clickId()) fillInputs(clickId());
  };
  document.addEventListener('readystatechange', again);
  document.addEventListener('submit', again, true);
  for (const type of ['click', 'auxclick', 'contextmenu']) {
    document.addEventListener(
      type,
      ({ target }) => {
        again();
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
