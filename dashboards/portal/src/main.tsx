import { render } from 'preact';
import { App } from './app/app.tsx';
import { applyTheme } from './app/theme.ts';
import { LANGUAGE } from './text/language.ts';

document.documentElement.lang = LANGUAGE;
applyTheme();
const place = document.getElementById('portal');
if (place) render(<App />, place);
