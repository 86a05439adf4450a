// The snippet of a shop's pages (docs/links.md): keeps the click id of the landing URL for the checkout.
(() => {
  const script = document.currentScript;
  const option = (name, fallback) => script?.getAttribute(`data-${name}`) || fallback;
  const days = Number(option('days', 30)) || 30;
  const domain = option('domain', '');
  const isId = (text) => /^[\w-]{22}$/.test(text || '');
  const landed = new URLSearchParams(location.search).get(option('param', 'click_id'));
  let allowed = option('consent', '') !== 'manual';

  const read = () => (document.cookie.match(/(?:^|; )aff_click=([^;]*)/) || [])[1];
  const write = (value, seconds) => {
    // biome-ignore lint/suspicious/noDocumentCookie: older browsers have nothing else
    document.cookie =
      `aff_click=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax` +
      (domain && `; Domain=${domain}`) +
      (location.protocol === 'https:' ? '; Secure' : '');
  };
  const keep = () => {
    if (allowed && isId(landed)) write(landed, Math.round(days * 86400));
  };

  window.afflux = {
    // The click id to send with the order, or undefined.
    clickId: () => [landed, read()].find(isId),
    // The visitor's consent; false also deletes the stored id.
    consent: (given) => {
      allowed = given === true;
      if (allowed) keep();
      else if (read() !== undefined) write('', 0);
    },
  };
  keep();
})();
