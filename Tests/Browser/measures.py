"""What is measured of a page, by JavaScript that runs in it."""

from __future__ import annotations

# Colors are blended down to the root, so that what is behind a transparent element counts.
TOOLS = """
    const channels = text => {
        const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
        return {r, g, b, a};
    };
    const over = (top, below) => ({
        r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a),
        b: top.b * top.a + below.b * (1 - top.a), a: 1,
    });
    const behind = element => element
        ? over(channels(getComputedStyle(element).backgroundColor), behind(element.parentElement))
        : {r: 255, g: 255, b: 255, a: 1};
    const luminance = color => {
        const [r, g, b] = [color.r, color.g, color.b].map(value => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (text, back) => {
        const [low, high] = [luminance(over(channels(text), back)), luminance(back)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const name = element => element.tagName.toLowerCase() + (element.id ? '#' + element.id : '');
"""

PAGE = f"""() => {{{TOOLS}
    const main = document.querySelector('main');
    const seen = [...document.querySelectorAll('main, main *')].filter(e => e.checkVisibility() && e.type !== 'hidden');
    const controls = seen.filter(e => e.matches('input, button, textarea, select, a[href]'));
    const fields = seen.filter(e => e.matches('input, textarea, select'));
    const speaks = e => fields.includes(e)
        || [...e.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const isLabelled = e => [...e.labels].some(label => label.innerText.trim());
    const edge = e => [name(e), contrast(getComputedStyle(e).borderTopColor, behind(e.parentElement))];
    return {{
        lang: document.documentElement.lang,
        title: document.title,
        headings: [...document.querySelectorAll('h1')].map(e => e.innerText),
        mains: document.querySelectorAll('main').length,
        text: seen.filter(speaks).map(e => [name(e), contrast(getComputedStyle(e).color, behind(e))]),
        edges: fields.filter(e => !e.readOnly).map(edge),
        unlabelled: fields.filter(e => !isLabelled(e)).map(name),
        heights: controls.map(e => [name(e), e.getBoundingClientRect().height]),
        controls: controls.map(name),
        fontSize: parseFloat(getComputedStyle(document.body).fontSize),
        width: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
        card: [main.scrollWidth, main.clientWidth],
        margin: main.getBoundingClientRect().left,
    }};
}}"""

FOCUS = f"""() => {{{TOOLS}
    const now = document.activeElement, style = getComputedStyle(now);
    return {{
        name: name(now),
        style: style.outlineStyle,
        width: parseFloat(style.outlineWidth),
        contrast: contrast(style.outlineColor, behind(now.parentElement)),
    }};
}}"""
